"""Quality of restored grey images and volumes: PSNR, SSIM, edges, spectra, FRC, seams."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates
from scipy.optimize import least_squares
from scipy.special import erf

from srlib.metrics.checks import check_images, check_volumes
from srlib.metrics.segmentation import detection_errors, particles


def rms_error(found: NDArray, truth: NDArray) -> float:
    """Root mean square of the difference, grey levels (FIB-SEM, eq. 1, without its scale)."""
    check_volumes(found, truth)
    return float(np.sqrt(np.mean((found.astype(np.float32) - truth) ** 2, dtype=float)))


def decibels(error: float, peak: float = 255.0) -> float:
    r"""PSNR of a root mean square error, :math:`20 \log_{10}(\mathrm{MAX}/\mathrm{RMS})` (eq. 2).

    The paper prints :math:`10 \log_{10}(\mathrm{MAX}^2/\mathrm{RMS})`; its numbers are those of the
    square.

    Args:
        peak: 255 for 8 bits; 1 for two phases, whose square error is the share that is wrong.

    Example:
        >>> from srlib import metrics
        >>> round(metrics.decibels(25.5), 6)  # a tenth of the range of 8 bits
        20.0
    """
    return float(20 * np.log10(peak / error)) if error else float("inf")


def threshold_disagreement(found: NDArray, truth: NDArray, threshold: float) -> float:
    """Share of the voxels on the other side of a threshold, which counts as above it."""
    check_volumes(found, truth)
    return float(np.mean((found >= threshold) != (truth >= threshold)))


def seams(volume: NDArray, places: list[int], axis: int = 0) -> float:
    """Difference of planes across joints over that of all neighbouring planes; 1 for no seam.

    Args:
        places: Numbers of the first planes after a joint.
        axis: Across which the joints lie.
    """
    check_volumes(volume)
    steps = np.diff(np.moveaxis(volume, axis, 0).astype(np.float32), axis=0)
    energy = np.square(steps).mean((1, 2), dtype=float)
    return float(energy[np.asarray(places) - 1].mean() / energy.mean())


ACROSS = np.arange(-2, 3)  # pixels along an edge over which its profile is a mean
STEP = 0.5  # pixels between two samples of a profile


def psnr(image: NDArray, reference: NDArray, mask: NDArray | None = None) -> float:
    """Peak signal-to-noise ratio in dB inside of the mask, for a range of 2 (ME-16)."""
    mask = check_images(image, reference, mask=mask)
    error = float(np.square(image - reference, dtype=np.float64)[mask].mean())
    return 10 * np.log10(4 / error) if error else float("inf")


def ssim(image: NDArray, reference: NDArray, mask: NDArray | None = None) -> float:
    """Structural similarity with Gaussian weights, the mean inside of the mask; at most 1."""
    from skimage.metrics import structural_similarity

    mask = check_images(image, reference, mask=mask)
    how = dict(data_range=2, gaussian_weights=True, use_sample_covariance=False, full=True)
    return float(structural_similarity(image, reference, **how)[1][mask].mean())


def sift_matches(
    image: NDArray,
    reference: NDArray,
    mask: NDArray | None = None,
    ratio: float = 0.8,
    within: float = 4.0,
) -> int:
    """Features that an image shares with the reference, at the same place (IN-27).

    SIFT key points of both are matched both ways by the Euclidean distance of their descriptors;
    the best match must be nearer than ``ratio`` times the next. The paper states no rule (GAP-30).

    Args:
        within: Pixels between the two places of one feature, at most.
    """
    from skimage.feature import match_descriptors

    mask = check_images(image, reference, mask=mask)
    found = []
    for one in (image, reference):
        one = np.ascontiguousarray(one)
        places, words = _features(one.tobytes(), one.dtype.str, one.shape)
        inside = mask[tuple(places.T)]
        found.append((places[inside], words[inside]))
    (a, first), (b, second) = found
    if not len(a) or not len(b):
        return 0
    pairs = match_descriptors(first, second, cross_check=True, max_ratio=ratio)
    return int((np.linalg.norm(a[pairs[:, 0]] - b[pairs[:, 1]], axis=1) <= within).sum())


@lru_cache(maxsize=64)
def _features(content: bytes, kind: str, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Places and descriptors of the SIFT key points of an image; the last ones are kept."""
    from skimage.feature import SIFT

    image, sift = np.frombuffer(content, kind).reshape(shape), SIFT(upsampling=1)
    try:
        sift.detect_and_extract((np.clip(image, -1, 1) + 1) / 2)
    except RuntimeError:  # no feature at all
        return np.empty((0, 2), int), np.empty((0, 128), np.uint8)
    return sift.keypoints, sift.descriptors


def find_edges(
    labels: NDArray,
    count: int = 60,
    seed: int = 0,
    mask: NDArray | None = None,
    half: int = 14,
    apart: float = 8.0,
) -> NDArray:
    """Places where a straight profile crosses one edge of a particle and nothing else.

    Chosen from the truth, at random and not by hand, so that all methods are judged at the same
    places and none at its best (GAP-31).

    Args:
        labels: ``uint8`` phases.
        count: Places, at most.
        half: Pixels on each side of the edge that must be of one phase.
        apart: Pixels between two places, at least.

    Returns:
        ``(n, 4)``: y, x, and the unit normal from particle to matrix, ny, nx.

    Raises:
        ValueError: if there is no such place.
    """
    mask = check_images(labels, mask=mask)
    particle = labels == 1
    smooth = gaussian_filter(particle.astype(np.float32), 3)
    slope = -np.stack(np.gradient(smooth), -1)
    border = particle & binary_dilation(labels == 0) & mask
    places = np.random.default_rng(seed).permutation(np.argwhere(border))
    reach = np.arange(-half, half + 1)
    found: list[NDArray] = []
    for place in places:
        normal = slope[tuple(place)]
        length = np.linalg.norm(normal)
        if length < 1e-3 or any(np.hypot(*(f[:2] - place)) < apart for f in found):
            continue
        normal = normal / length
        line = np.rint(place + reach[:, None] * normal).astype(int)
        if (line < 0).any() or (line >= labels.shape).any():
            continue
        seen = labels[tuple(line.T)]
        if (
            mask[tuple(line.T)].all()
            and (seen[reach < -1] == 1).all()
            and not seen[reach > 2].any()
        ):
            found.append(np.array([*place, *normal]))
        if len(found) == count:
            break
    if not found:
        raise ValueError("there is no free edge in these labels: take a larger image or half")
    return np.stack(found)


def edge_profile(image: NDArray, edge: NDArray, half: int = 14) -> tuple[NDArray, NDArray]:
    """Distances from an edge in pixels, particle first, and the mean grey value there."""
    y, x, ny, nx = edge
    along = np.arange(-half, half + STEP, STEP)
    places = [
        y + along * ny - ACROSS[:, None] * nx,
        x + along * nx + ACROSS[:, None] * ny,
    ]
    return along, map_coordinates(image, places, order=1, mode="nearest").mean(0)


def edge_widths(
    image: NDArray, edges: NDArray, voxel_nm: float, half: int = 14, least: float = 0.85
) -> NDArray:
    """Spatial resolution at each edge: full width at half maximum of its derivative, in nm (IN-25).

    A step of Gaussian blur is fitted to the profile, because the derivative of a noisy profile
    itself has no one maximum. NaN where the fit explains less than ``least`` of the variance or the
    matrix is not the brighter side.
    """
    check_images(image)
    widths = np.full(len(edges), np.nan)
    for i, edge in enumerate(edges):
        along, grey = edge_profile(image, edge, half)
        low, high = grey[: len(grey) // 4].mean(), grey[-(len(grey) // 4) :].mean()

        def misfit(p: NDArray, along: NDArray = along, grey: NDArray = grey) -> NDArray:
            return p[0] + p[1] * erf((along - p[2]) / (np.sqrt(2) * p[3])) - grey

        start = [(low + high) / 2, (high - low) / 2, 0.0, 3.0]
        fit = least_squares(misfit, start, bounds=([-9, -9, -half, 0.2], [9, 9, half, half]))
        left = np.square(fit.fun).sum() / max(np.square(grey - grey.mean()).sum(), 1e-12)
        if fit.x[1] > 0 and 1 - left >= least:
            widths[i] = 2 * np.sqrt(2 * np.log(2)) * fit.x[3] * voxel_nm
    return widths


def common(widths: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Widths at those edges alone where every image has one; a fair set for medians."""
    everywhere = np.all([np.isfinite(w) for w in widths.values()], 0)
    return {name: w[everywhere] for name, w in widths.items()}


def cnr(image: NDArray, labels: NDArray, mask: NDArray | None = None, border: int = 3) -> float:
    """Contrast of particles and matrix over the noise of the matrix (IN-26).

    Of the pixels ``border`` and more from any other phase. The paper does not say which noise it
    divides by (GAP-30); here it is the standard deviation of the matrix.
    """
    mask = check_images(image, labels, mask=mask)
    ball = np.hypot(*np.mgrid[-border : border + 1, -border : border + 1]) <= border
    parts = [image[mask & ~binary_dilation(labels != p, ball)] for p in (1, 0)]
    if min(map(len, parts)) < 2:
        raise ValueError("particle and matrix should both have an inside: take a smaller border")
    return float(abs(parts[0].mean() - parts[1].mean()) / parts[1].std())


def band_power(
    image: NDArray,
    reference: NDArray,
    mask: NDArray | None = None,
    bands: Sequence[tuple[float, float]] = ((1 / 40, 1 / 10), (1 / 10, 1 / 5)),
) -> tuple[float, ...]:
    """Power of an image in bands of frequency (cycles per pixel) over that of the reference.

    Below 1: detail is missing, as in a regression to the mean; above 1: there is too much.
    """
    mask = check_images(image, reference, mask=mask)
    window = mask * np.outer(*(np.hanning(n + 2)[1:-1] for n in mask.shape))
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, mask.shape), indexing="ij"))
    power = [
        np.abs(np.fft.fft2((one - np.average(one, weights=window)) * window)) ** 2
        for one in (image, reference)
    ]
    inside = [(frequency >= a) & (frequency < b) for a, b in bands]
    return tuple(float(power[0][i].sum() / power[1][i].sum()) for i in inside)


def middle_band(images: Sequence[NDArray], references: Sequence[NDArray], mask: NDArray) -> float:
    """Mean of the first of the two numbers of :func:`band_power`, over pairs of images."""
    pairs = zip(images, references, strict=True)
    return float(np.mean([band_power(image, fine, mask)[0] for image, fine in pairs]))


def ring_correlation(
    image: NDArray, reference: NDArray, mask: NDArray | None = None, rings: int = 40
) -> tuple[NDArray, NDArray]:
    """Fourier ring correlation: how alike two images are, frequency by frequency (ME-27).

    Returns:
        Frequencies in cycles per pixel, up to 0.2, and correlations in [-1, 1].
    """
    mask = check_images(image, reference, mask=mask)
    window = mask * np.outer(*(np.hanning(n + 2)[1:-1] for n in mask.shape))
    a, b = (
        np.fft.fft2((one - np.average(one, weights=window)) * window) for one in (image, reference)
    )
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, mask.shape), indexing="ij")).ravel()
    edges = np.linspace(0.2 / rings, 0.2, rings)  # below, there is little but the mean

    def total(values: NDArray) -> NDArray:
        return np.histogram(frequency, edges, weights=values.ravel())[0]

    norm = np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
    return (edges[1:] + edges[:-1]) / 2, total((a * b.conj()).real) / np.maximum(norm, 1e-12)


def frc_resolution(
    image: NDArray, reference: NDArray, mask: NDArray | None = None, level: float = 0.5
) -> float:
    """Half of the shortest wavelength, in pixels, down to which an image agrees with a reference.

    Where :func:`ring_correlation` falls below ``level`` for the first time; a half is customary
    against a reference without noise. A width of edges says how sharp an image looks, this says to
    which fineness it is right.
    """
    frequency, likeness = ring_correlation(image, reference, mask)
    below = np.flatnonzero(likeness < level)
    if not len(below):
        return float(0.5 / frequency[-1])
    k = below[0]
    if k == 0:
        return float(0.5 / frequency[0])
    part = (likeness[k - 1] - level) / (likeness[k - 1] - likeness[k])
    return float(0.5 / (frequency[k - 1] + part * (frequency[k] - frequency[k - 1])))


def checkerboard_power(image: NDArray, mask: NDArray | None = None, period: int = 8) -> float:
    """Power of a regular pattern: at multiples of 1/period over the median of what lies around.

    About 1 without a pattern; a network that goes up by ``period`` can leave one.

    Args:
        period: Pixels; it should divide both edges of the image.
    """
    mask = check_images(image, mask=mask)
    if any(n % period for n in image.shape):
        raise ValueError(f"a period of {period} pixels does not divide an image of {image.shape}")
    power, found = np.abs(np.fft.fft2((image - image[mask].mean()) * mask)) ** 2, []
    for i, j in np.ndindex(period, period):
        if i or j:
            place = [k * n // period for k, n in zip((i, j), image.shape, strict=True)]
            near = np.roll(power, [3 - k for k in place], (0, 1))[:7, :7]
            found.append(near[3, 3] / np.median(near))
    return float(np.median(found))


def score(
    images: NDArray,
    hq: NDArray,
    truth: NDArray,
    labels: NDArray,
    mask: NDArray,
    edges: Sequence[NDArray],
    voxel_nm: float = 50.0,
) -> dict[str, float | list[float]]:
    """All measures of a stack of slices, against the HQ scan and against the truth.

    Args:
        images, hq, truth: ``(D, H, W)`` in [-1, 1].
        labels: Phases of the same shape.
        mask: ``(H, W)``.
        edges: Of each slice, from :func:`find_edges`.

    Returns:
        Means over the slices; ``"widths nm"`` is a list over all edges, NaN where a fit failed;
        counts of :func:`audit` are sums.
    """
    rows, counts, widths = [], [], []
    for image, fine, known, phases, places in zip(images, hq, truth, labels, edges, strict=True):
        found, true = particles(image, mask), (phases > 0) & (phases < 3) & mask
        mid, high = band_power(image, fine, mask)
        rows.append(
            {
                "PSNR to HQ": min(psnr(image, fine, mask), 99.0),
                "PSNR to truth": psnr(image, known, mask),
                "SSIM to HQ": ssim(image, fine, mask),
                "SSIM to truth": ssim(image, known, mask),
                "SIFT to HQ": sift_matches(image, fine, mask),
                "SIFT to truth": sift_matches(image, known, mask),
                "resolved nm": voxel_nm * frc_resolution(image, known, mask),
                "CNR": cnr(image, phases, mask),
                "mid band": mid,
                "high band": high,
                "pattern": checkerboard_power(image, mask, 2),
                "Dice": float(2 * (found & true).sum() / max(found.sum() + true.sum(), 1)),
            }
        )
        counts.append(detection_errors(found, true))
        widths.extend(edge_widths(image, places, voxel_nm).tolist())
    means = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
    total = {k: int(sum(c[k] for c in counts)) for k in counts[0]}
    return means | total | {"widths nm": widths}
