"""From two scans to pairs: grey limits, mask, the finer grid, registration, and parts to train on.

Slices are ``(H, W)`` and volumes ``(D, H, W)``; grey values of pairs are in [-1, 1] (InDI,
"Postprocessing" and "Training details").
"""

import numpy as np
from scipy.ndimage import spline_filter1d

from srlib.data.fill import fill_mask, find_fill, sample_sections, thinned

PAD = 12  # voxels after which a cubic spline has forgotten its border


def disc(n: int, share: float = 0.97) -> np.ndarray:
    """A circular mask ``(n, n)`` around the axis; its diameter is a share of the edge (IN-06)."""
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return np.hypot(y, x) <= share * n / 2


def limits(volume: np.ndarray, mask: np.ndarray, cut: float = 0.5) -> tuple[float, float]:
    """Percentiles of the grey values inside a mask of every slice: ``cut`` and ``100 - cut``."""
    seen = volume[..., mask]
    if not np.isfinite(seen).all():
        raise ValueError("the volume holds NaN or infinite values inside of the mask")
    low, high = np.percentile(seen, [cut, 100 - cut])
    if low == high:
        raise ValueError("the volume has one grey value only: there is nothing to scale")
    return float(low), float(high)


def check_grey(image: np.ndarray) -> np.ndarray:
    """A slice ``(H, W)`` or slices ``(D, H, W)`` in [-1, 1] as float32.

    Raises:
        ValueError: for another shape, or values that are not finite or far outside.
    """
    image = np.asarray(image, np.float32)
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(f"image is {image.shape}: give a slice (H, W) or slices (D, H, W)")
    if not np.isfinite(image).all() or np.abs(image).max() > 1.5:
        raise ValueError(
            "grey values must be finite and in [-1, 1]: see srlib.data.normalization.scaled"
        )
    return image


def scaled(volume: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Grey values with two limits at -1 and 1, and cut off there; float32.

    Example:
        >>> import numpy as np
        >>> from srlib.data.normalization import scaled
        >>> scaled(np.array([0, 100, 150, 255]), (50, 250)).tolist()
        [-1.0, -0.5, 0.0, 1.0]
    """
    low, high = bounds
    return np.clip(2 * (volume - low) / (high - low) - 1, -1, 1).astype(np.float32)


def equalised(volume: np.ndarray, mask: np.ndarray, bins: int = 4096) -> np.ndarray:
    """Histogram equalisation: grey values inside of the mask become uniform in [-1, 1] (IN-04).

    Which kind the paper uses is not said (GAP-30); this is the plain one, one curve for a volume.
    """
    counts, edges = np.histogram(volume[..., mask], bins)
    share = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return (2 * np.interp(volume, edges, share) - 1).astype(np.float32)


def unringed(volume: np.ndarray) -> np.ndarray:
    """Slices minus their mean on each circle around the axis, where rings are.

    For the registration only: it takes away a part of the sample as well, most near the axis.
    """
    y, x = np.indices(volume.shape[1:]) - (np.array(volume.shape[1:])[:, None, None] - 1) / 2
    ring = np.rint(np.hypot(y, x)).astype(int)
    count = np.maximum(np.bincount(ring.ravel()), 1)
    means = [np.bincount(ring.ravel(), plane.ravel()) / count for plane in volume]
    return (volume - np.stack(means)[:, ring]).astype(np.float32)


def upscaled(volume: np.ndarray, factor: int | tuple[int, ...] = 2) -> np.ndarray:
    """Bicubic interpolation on a grid ``factor`` times as fine, along every axis (IN-05).

    A fine voxel i has its centre at ``(i + 0.5) / factor - 0.5`` of the coarse grid. With a factor
    for each axis, those of factor 1 stay as they are.
    """
    factors = (factor,) * volume.ndim if isinstance(factor, int) else factor
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        edge = [(PAD if k == axis else 0,) * 2 for k in range(volume.ndim)]
        spline = np.pad(volume.astype(np.float32), edge, mode="edge")
        spline = spline_filter1d(spline, 3, axis, np.float32, mode="nearest")
        spline, n = np.moveaxis(spline, axis, -1), volume.shape[axis]
        fine = np.empty((*spline.shape[:-1], n * factor), np.float32)
        for k in range(factor):
            place = (k + 0.5) / factor - 0.5 + PAD
            low, t = int(place), place % 1
            weights = [(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]
            taps = (spline[..., low - 1 + i : low - 1 + i + n] for i in range(4))
            fine[..., k::factor] = sum(
                np.float32(w / 6) * c for w, c in zip(weights, taps, strict=True)
            )
        volume = np.moveaxis(fine, -1, axis)
    return np.ascontiguousarray(volume, np.float32)


def field(volume: np.ndarray) -> np.ndarray:
    """A LQ scan on the grid of 50 nm, in the field of the HQ scan alone."""
    cut = [max(n // 4 - PAD, 0) for n in volume.shape[1:]]
    inner = volume[:, cut[0] : volume.shape[1] - cut[0], cut[1] : volume.shape[2] - cut[1]]
    h, w = (2 * (n // 4 - c) for n, c in zip(volume.shape[1:], cut, strict=True))
    fine = upscaled(inner)
    return np.ascontiguousarray(fine[:, h : fine.shape[1] - h, w : fine.shape[2] - w])


def grey_limits(
    stack: np.ndarray, axis: int = 0, most: int = 32, fill: tuple[float, ...] | None = None
) -> tuple[float, float]:
    """Grey values that become -1 and 1: percentiles 0.5 and 99.5 of up to ``most`` sections.

    What was not measured does not count: fill values, NaN, and sections of one value only.

    Args:
        stack: Sections, three axes.
        axis: The depth.
        most: Sections to look at.
        fill: Values that mark pixels as not measured; None for those of
            :func:`srlib.data.fill.find_fill`.

    Raises:
        ValueError: if the stack has one grey value only.
    """
    sections = sample_sections(stack, axis, most)
    fill = find_fill(stack, axis, most) if fill is None else fill
    sections = [s for s in sections if s.min() != s.max()] or sections
    sections = thinned(sections, 2**25)
    masks = [fill_mask(s, fill) for s in sections]
    planes = np.stack(sections)
    if any(mask.any() for mask in masks):
        planes = planes[~np.stack(masks)]
    if not planes.size:
        raise ValueError(
            "the stack holds NaN, or fill values, only: there is nothing to learn from"
        )
    low, high = np.percentile(planes, [0.5, 99.5])
    if low == high:
        low, high = float(planes.min()), float(planes.max())
    if low == high:
        raise ValueError("the stack has one grey value only: there is nothing to learn from")
    return float(low), float(high)
