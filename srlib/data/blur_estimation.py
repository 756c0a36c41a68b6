"""How wide the blur of a coarse volume is, from its own statistics and those of fine images.

The two show the same material and not the same place, so that they can be compared by their
two-point functions only (SuperRes, section 3: the physics "can be tuned"; FW-23).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2

from srlib.metrics.representativeness import WINDOW, covariance, variance_of_mean

WIDTHS = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 1.8, 2.1, 2.5, 3.0])
LAGS = 5  # coarse voxels; of labels the first 3 count


@dataclass(frozen=True)
class BlurEstimate:
    """The blur of a coarse volume.

    Attributes:
        width: Standard deviation of a Gaussian in coarse voxels; 0 for none.
        low, high: The width is between them (95 %), as far as the parts of the images tell.
    """

    width: float
    low: float
    high: float


def estimate_blur(
    fine: Sequence[NDArray], coarse: NDArray, scale_factor: float, grey: bool = False
) -> BlurEstimate:
    r"""Width of the Gaussian through which a coarse volume was seen before it was sampled.

    Sampling alone keeps the two-point covariance: at d coarse voxels it is that of the fine images
    at ``d * scale_factor`` fine ones. A blur changes it, and how much is found by blurring the fine
    images. They lack the third dimension, in which a volume is blurred too. For grey values of a
    material alike in all directions it is one integral over the covariance of the fine images:

    .. math:: C_\mathrm{coarse}(r) = \int_0^\infty C(\rho)\,\frac{\rho}{r \sqrt{2\pi}\,\tau}
              \Big(e^{-(r - \rho)^2 / 2\tau^2} - e^{-(r + \rho)^2 / 2\tau^2}\Big)\,d\rho,
              \qquad \tau = \sqrt 2\,\sigma

    Labels are taken for blurred phases cut at one half. There the loss of covariance *over the
    variance* is nearly that of blurred and cut slices: 0.85 and 0.83 of the boundary is left of a
    cathode's active material at a width of one coarse voxel. A blur well below the size of the
    structure moves hardly any boundary; the limits say so.

    Args:
        fine: Images of one phase, 0 and 1, ``(H, W)`` or ``(D, H, W)``; planes along the first axis
            of a volume are taken for images.
        coarse: The same phase in the coarse volume ``(D, H, W)``, or its grey values.
        scale_factor: Fine voxels per coarse voxel edge.
        grey: Whether ``coarse`` is grey: any contrast and white noise are allowed.

    Raises:
        ValueError: if a phase is missing, or an image is smaller than some coarse voxels.

    Example:
        >>> import numpy as np
        >>> from scipy.ndimage import gaussian_filter
        >>> from srlib.data.blur_estimation import estimate_blur
        >>> noise = np.random.default_rng(0).normal(size=(80, 80, 80))
        >>> fine = gaussian_filter(noise, 1.5, mode="wrap") > 0
        >>> coarse = gaussian_filter(fine.astype(float), 2, mode="wrap")[::2, ::2, ::2]
        >>> round(estimate_blur([fine[k] for k in range(0, 80, 4)], coarse, 2, grey=True).width, 1)
        1.0
    """
    lags = LAGS if grey else 3
    images = [plane for image in fine for plane in (image if image.ndim == 3 else image[None])]
    need = int(np.ceil(scale_factor * (lags + 1))) + 1
    for image in images:
        if min(image.shape) < 2 * need:
            raise ValueError(
                f"a fine image of {image.shape} is small: {2 * need} pixels are needed"
            )
    images = [image for image in images if image.min() < image.max()]
    if not images or min(coarse.shape) < 2 * (lags + 1) or coarse.min() == coarse.max():
        raise ValueError("the images are too small, or of one phase only, to tell the blur")
    curves = _grey_curves if grey else _label_curves
    parts = [p for image in images for p in _parts(image, 1 + (len(images) < 8))]
    shares = np.array([p.size for p in parts], float) / sum(p.size for p in parts)
    each = np.array([curves(p, WIDTHS * scale_factor, scale_factor, lags) for p in parts])
    model = np.einsum("p,pwd->wd", shares, each)
    about = np.sqrt(np.einsum("p,pwd->wd", shares**2, (each - model) ** 2))
    bits = [_covariances(p, 1.0, lags) for p in _parts(np.asarray(coarse), 2)]
    seen = np.mean(bits, 0)
    if grey:
        whole = np.asarray(coarse, np.float32)
        seen = _covariances(whole, 1.0, lags) + variance_of_mean(whole)[0]
    spread = np.std(bits, 0, ddof=1) / np.sqrt(len(bits))
    if grey:
        return _fit(model, about, seen[1:], spread[1:])
    seen, spread = 1 - seen[1:] / seen[0], spread[1:] / seen[0]
    return _fit(model, about, seen, spread, free=False)


def _parts(image: NDArray, count: int) -> list[NDArray]:
    """``count`` parts along every axis."""
    cuts = [
        [slice(k * n // count, (k + 1) * n // count) for k in range(count)] for n in image.shape
    ]
    return [image[cut] for cut in product(*cuts)]


def _covariances(values: NDArray, step: float, lags: int) -> NDArray:
    """Covariance 0, 1, ... ``lags`` steps apart: the mean over the axes, between whole voxels."""
    places = np.arange(lags + 1) * step
    reach = int(np.ceil(places[-1]))
    lines = []
    for axis in range(values.ndim):
        most = [0] * values.ndim
        most[axis] = min(reach, values.shape[axis] - 1)
        line = covariance(values, tuple(most)).ravel()
        lines.append(np.interp(places, np.arange(-most[axis], most[axis] + 1), line))
    return np.mean(lines, 0)


def _label_curves(image: NDArray, sigmas: NDArray, step: float, lags: int) -> NDArray:
    """Loss of covariance over the variance after each blur and cut; 1 if nothing is left."""
    out = np.ones((len(sigmas), lags))
    for row, sigma in zip(out, sigmas, strict=True):
        seen = image
        if sigma:
            seen = (gaussian_filter(image.astype(np.float32), sigma) > 0.5).astype(np.float32)
        if seen.min() < seen.max():
            found = _covariances(seen, step, lags)
            row[:] = 1 - found[1:] / found[0]
    return out


def _grey_curves(image: NDArray, sigmas: NDArray, step: float, lags: int) -> NDArray:
    """Covariance after each blur in three dimensions, of an image alike in all directions."""
    far = int(np.ceil(lags * step + 4 * np.sqrt(2) * max(sigmas))) + 1
    reach = min(far, min(image.shape) // 2)
    cov = covariance(image, (reach, reach))
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    ring = np.rint(distance).astype(int)
    inside = ring <= reach
    counts = np.bincount(ring[inside])
    radial = np.bincount(ring[inside], cov[inside]) / counts
    radius = np.bincount(ring[inside], distance[inside]) / counts
    low, total, _ = variance_of_mean(image.astype(np.float32))
    radial += low
    end = WINDOW * np.sqrt(max(total / radial[0], 1) / np.pi)
    radial[radius > max(end, 2)] = 0  # noise, which the integral would add up
    places = np.arange(1, lags + 1)[:, None] * step
    out = np.empty((len(sigmas), lags))
    for row, sigma in zip(out, sigmas, strict=True):
        if not sigma:
            row[:] = np.interp(places[:, 0], radius, radial)
            continue
        tau = np.sqrt(2) * sigma
        grid = np.linspace(0, reach, int(np.ceil(reach * max(8 / tau, 1))) + 1)
        near = np.exp(-((places - grid) ** 2) / 2 / tau**2)
        near -= np.exp(-((places + grid) ** 2) / 2 / tau**2)
        kernel = near * grid / places / np.sqrt(2 * np.pi) / tau
        row[:] = kernel @ np.interp(grid, radius, radial) * grid[1]
    return out


def _fit(
    model: NDArray, about: NDArray, seen: NDArray, spread: NDArray, free: bool = True
) -> BlurEstimate:
    """The width of least squares, and those that are not much worse; ``free``: any contrast."""
    widths = np.linspace(0, WIDTHS[-1], 601)
    dense, error = (
        np.stack([np.interp(widths, WIDTHS, column) for column in curves.T], 1)
        for curves in (model, about)
    )
    contrast = np.ones(len(widths))
    if free:
        contrast = (dense * seen).sum(1) / np.maximum((dense**2).sum(1), 1e-30)
    sure = np.sqrt((contrast[:, None] * error) ** 2 + spread**2)
    sure = np.maximum(sure, 0.005 * np.abs(seen))
    if free:
        weight = 1 / sure**2
        contrast = (dense * seen * weight).sum(1) / (dense**2 * weight).sum(1)
    cost = (((contrast[:, None] * dense - seen) / sure) ** 2).mean(1)
    good = widths[cost <= cost.min() + chi2.ppf(0.95, 1)]
    return BlurEstimate(float(widths[cost.argmin()]), float(good[0]), float(good[-1]))
