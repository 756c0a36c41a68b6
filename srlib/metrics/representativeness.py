"""How well an image stands for its material: the error of a phase fraction, and the size needed."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.stats import norm, t

MAX_VOXELS = 2**20  # an image of more is binned first, which leaves the sum of covariances as it is
WINDOW = 4.0  # covariances count to so many radii of the integral range: 98 % of exp(-r)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Representativeness:
    """What an image says about the fraction of a phase, and how surely.

    Attributes:
        fraction: Of the phase in the image, 0 to 1.
        error: The fraction of the material is within ``fraction +- error`` (95 %).
        integral_range: Voxels that count as one independent look.
        edge: Voxels along each edge of an image of the same dimensions that has the relative error
            asked for.
        converged: False if the structures are too large for the image to say: the error is then a
            lower bound.
    """

    fraction: float
    error: float
    integral_range: float
    edge: float
    converged: bool

    @property
    def relative_error(self) -> float:
        """``error / fraction``."""
        return self.error / self.fraction


def covariance(field: NDArray, max_lags: tuple[int, ...]) -> NDArray:
    """Covariance of the values of a field with those a lag away, without wrap-around.

    Args:
        field: Numbers, any dimensions; 0 and 1 for a phase.
        max_lags: Largest lag along each axis.

    Returns:
        Float array of ``2 * max_lag + 1`` values an axis; lag 0 in the middle.
    """
    values = np.asarray(field, np.float32) - np.float32(np.mean(field, dtype=np.float64))
    shape = [fft.next_fast_len(n + m, True) for n, m in zip(values.shape, max_lags, strict=True)]
    spectrum = fft.rfftn(values, shape)
    sums = fft.irfftn((spectrum * spectrum.conj()).real, shape)
    for axis, (n, m) in enumerate(zip(values.shape, max_lags, strict=True)):
        lags = np.arange(-m, m + 1)
        pairs = np.expand_dims(n - np.abs(lags), [k for k in range(values.ndim) if k != axis])
        sums = np.take(sums, lags, axis) / pairs
    return sums


def representativeness(
    phase: NDArray, relative_error: float = 0.05, examined: float = 1.0
) -> Representativeness:
    r"""The error of a phase fraction, from the two-point covariance of one image.

    .. math:: \mathrm{Var}[\hat\varphi] = \frac{1}{V^2} \sum_h \prod_i (L_i - |h_i|)\, C(h)
              \approx \frac{A\,\varphi(1 - \varphi)}{V}, \qquad
              A = \sum_h \frac{C(h)}{\varphi(1 - \varphi)}

    with the covariance :math:`C(h) = S_2(h) - \varphi^2`, edges :math:`L_i`, the number of voxels
    :math:`V` and the integral range :math:`A` (Kanit et al., Int. J. Solids Struct. 40, 3647, 2003;
    from one image's two-point function as in Dahari et al., ImageRep, 2024). Far lags add noise
    only: the sum ends at four radii of the integral range itself. The covariance is too low by the
    variance sought, because it is taken about the image's own mean; that is put right. Limits are
    those of Student's t for the number of independent looks.

    Args:
        phase: 2D or 3D; True or 1 in the phase, 0 elsewhere. Images of more than a million voxels
            are binned first.
        relative_error: What :attr:`Representativeness.edge` is for.
        examined: Share of a larger image that ``phase`` is a part of: the error is for the whole.

    Raises:
        ValueError: if the image is empty, not 2D or 3D, or has one value only.

    Example:
        >>> from srlib.metrics.representativeness import representativeness
        >>> import numpy as np
        >>> independent = np.random.default_rng(0).random((200, 200)) < 0.3
        >>> found = representativeness(independent)
        >>> print(f"{found.error:.3f} {1.96 * (0.3 * 0.7 / 200**2) ** 0.5:.3f}")  # binomial
        0.004 0.004
    """
    phase = np.asarray(phase)
    if phase.ndim not in (2, 3) or phase.size == 0:
        raise ValueError(f"an image is 2D or 3D and not empty, but the shape is {phase.shape}")
    fraction = float(np.mean(phase, dtype=np.float64))
    if not 0 < fraction < 1:
        raise ValueError("all voxels are alike: there is no fraction to judge")
    cell = max(1, int(np.ceil((phase.size / MAX_VOXELS) ** (1 / phase.ndim))))
    field = binned(phase, cell)
    per_cell = phase.size / field.size
    variance, total, converged = variance_of_mean(field)
    point = fraction * (1 - fraction)
    integral_range = max(total * per_cell / point, 0.02)
    looks = max(field.size * per_cell / integral_range, 2.0)
    z = t.ppf((1 + CONFIDENCE) / 2, looks - 1)
    error = z * np.sqrt(max(variance, 0.02 * point / phase.size) * examined)
    needed = (
        integral_range * point * (norm.ppf((1 + CONFIDENCE) / 2) / relative_error / fraction) ** 2
    )
    return Representativeness(
        fraction=fraction,
        error=float(min(error, max(fraction, 1 - fraction))),
        integral_range=float(integral_range),
        edge=float(needed ** (1 / phase.ndim)),
        converged=converged,
    )


def binned(values: NDArray, cell: int) -> NDArray:
    """Means of blocks of ``cell`` voxels an edge, float32; what is left over is left out."""
    cells = [min(cell, n) for n in values.shape]
    counts = [n // c for n, c in zip(values.shape, cells, strict=True)]
    part = values[tuple(slice(n * c) for n, c in zip(counts, cells, strict=True))]
    split = [k for pair in zip(counts, cells, strict=True) for k in pair]
    return part.reshape(split).mean(tuple(range(1, 2 * values.ndim, 2)), dtype=np.float32)


def correlation_lengths(cov: NDArray) -> NDArray:
    """Integral of the correlation along each axis, to its first zero, both ways; voxels, from 1."""
    middle = tuple(n // 2 for n in cov.shape)
    lengths = []
    for axis in range(cov.ndim):
        line = cov[middle[:axis] + (slice(middle[axis], None),) + middle[axis + 1 :]] / cov[middle]
        below = np.flatnonzero(line <= 0)
        lengths.append(2 * line[: below[0] if below.size else None].sum() - 1)
    return np.maximum(lengths, 1.0)


def integral_range(field: NDArray) -> float:
    """Voxels of a field that count as one independent look at its mean, from 1.

    Raises:
        ValueError: if all values are alike.
    """
    if np.min(field) == np.max(field):
        raise ValueError("all values are alike: there is no integral range")
    _, total, _ = variance_of_mean(np.asarray(field, np.float32))
    return max(total / float(np.var(field, dtype=np.float64)), 1.0)


def variance_of_mean(field: NDArray) -> tuple[float, float, bool]:
    """Variance of the mean of a field, the sum of its covariances, and whether that converged.

    The variance is also what a covariance about the field's own mean is too low by.
    """
    shape = np.array(field.shape)
    max_lags = np.where(shape < 32, shape - 1, shape // 2)
    cov = covariance(field, tuple(max_lags))
    lengths = correlation_lengths(cov)
    lags = np.meshgrid(*(np.arange(-m, m + 1) for m in max_lags), indexing="ij", sparse=True)
    radius = np.sqrt(sum((h / n) ** 2 for h, n in zip(lags, lengths, strict=True)))
    weight = np.prod(
        np.broadcast_arrays(*(1 - np.abs(h) / n for h, n in zip(lags, shape, strict=True))), 0
    )
    wide = shape >= 32
    most = float((max_lags / lengths)[wide].min()) if wide.any() else float(radius.max())
    order = np.argsort(radius, axis=None)
    order = order[: np.searchsorted(radius.ravel()[order], most, "right")]
    radius, cov, weight = (x.ravel()[order] for x in (radius, cov, weight))
    sums = np.cumsum(cov)
    ball = pi ** (field.ndim / 2) / gamma(field.ndim / 2 + 1) * np.prod(lengths)
    reach = WINDOW * (np.maximum(sums / cov[0], 0) / ball) ** (1 / field.ndim)
    enough = np.flatnonzero((radius >= reach) & (radius >= 1))
    stop = int(np.searchsorted(radius, radius[enough[0]], "right")) if enough.size else len(radius)
    bias = max(1 - float(weight[:stop].sum()) / field.size, 0.25)
    variance = float((weight[:stop] * cov[:stop]).sum()) / field.size / bias
    total = float(sums[stop - 1]) + variance * stop
    return variance, total, bool(enough.size)
