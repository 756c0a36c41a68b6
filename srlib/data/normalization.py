"""From two scans to pairs: grey limits, mask, the finer grid, registration, and parts to train on.

Slices are ``(H, W)`` and volumes ``(D, H, W)``; grey values of pairs are in [-1, 1] (InDI,
"Postprocessing" and "Training details").
"""

import numpy as np
from scipy.ndimage import spline_filter1d

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


def scaled(volume: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Grey values with two limits at -1 and 1, and cut off there; float32."""
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


def upscaled(volume: np.ndarray, factor: int = 2) -> np.ndarray:
    """Bicubic interpolation on a grid ``factor`` times as fine, along every axis (IN-05).

    A fine voxel i has its centre at ``(i + 0.5) / factor - 0.5`` of the coarse grid.
    """
    for axis in range(volume.ndim):
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
    return np.ascontiguousarray(volume)


def field(volume: np.ndarray) -> np.ndarray:
    """A LQ scan on the grid of 50 nm, in the field of the HQ scan alone."""
    cut = [max(n // 4 - PAD, 0) for n in volume.shape[1:]]
    part = volume[:, cut[0] : volume.shape[1] - cut[0], cut[1] : volume.shape[2] - cut[1]]
    h, w = (2 * (n // 4 - c) for n, c in zip(volume.shape[1:], cut, strict=True))
    fine = upscaled(part)
    return np.ascontiguousarray(fine[:, h : fine.shape[1] - h, w : fine.shape[2] - w])


def grey_limits(stack: np.ndarray, axis: int = 0, most: int = 32) -> tuple[float, float]:
    """Grey values that become -1 and 1: percentiles 0.5 and 99.5 of up to ``most`` sections.

    Raises:
        ValueError: if the stack is not finite, or has one grey value only.
    """
    count = stack.shape[axis]
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    part = np.stack([stack[(slice(None),) * axis + (k,)] for k in chosen])
    if not np.isfinite(part).all():
        raise ValueError("the stack holds NaN or infinite values: fill them first")
    low, high = np.percentile(part, [0.5, 99.5])
    if low == high:
        low, high = float(part.min()), float(part.max())
    if low == high:
        raise ValueError("the stack has one grey value only: there is nothing to learn from")
    return float(low), float(high)
