"""Measures of restored grey volumes against the true one, with a spread over eighths (FIB-SEM).

Volumes are grey, three axes, the depth first. Errors are in grey levels; the paper's RMS has a
scale that it does not state (GAP-33), so decibels are what can be compared.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def _check(*volumes: NDArray) -> None:
    shape = np.shape(volumes[0])
    for v in volumes:
        if np.ndim(v) != 3 or np.shape(v) != shape:
            raise ValueError(f"volumes should have three axes alike, not {shape} and {np.shape(v)}")


def rms_error(found: NDArray, truth: NDArray) -> float:
    """Root mean square of the difference, grey levels (FIB-SEM, eq. 1, without its scale)."""
    _check(found, truth)
    return float(np.sqrt(np.mean((found.astype(np.float32) - truth) ** 2, dtype=float)))


def decibels(error: float, peak: float = 255.0) -> float:
    r"""PSNR of a root mean square error, :math:`20 \log_{10}(\mathrm{MAX}/\mathrm{RMS})` (eq. 2).

    The paper prints :math:`10 \log_{10}(\mathrm{MAX}^2/\mathrm{RMS})`; its numbers are those of the
    square.

    Args:
        peak: 255 for 8 bits; 1 for two phases, whose square error is the share that is wrong.
    """
    return float(20 * np.log10(peak / error)) if error else float("inf")


def flipped(found: NDArray, truth: NDArray, threshold: float) -> float:
    """Share of the voxels on the other side of a threshold, which counts as above it."""
    _check(found, truth)
    return float(np.mean((found >= threshold) != (truth >= threshold)))


def eighths(measure: Callable[..., float], *volumes: NDArray) -> NDArray:
    """A measure of each of eight equal parts, ``(8,)``: the paper's way to a spread (FS-15).

    What an odd edge leaves over is left out.

    Raises:
        ValueError: if volumes differ in shape, or an edge is shorter than 2.
    """
    _check(*volumes)
    half = [n // 2 for n in volumes[0].shape]
    if min(half) < 1:
        raise ValueError(f"a volume of {volumes[0].shape} has no eight parts")
    parts = [
        tuple(slice(i * n, (i + 1) * n) for i, n in zip(corner, half, strict=True))
        for corner in product((0, 1), repeat=3)
    ]
    return np.array([measure(*(v[part] for v in volumes)) for part in parts])


def gain(errors: NDArray, others: NDArray, seed: int = 0, draws: int = 9999) -> dict[str, float]:
    """By how many decibels root mean square errors are smaller than others, with 95 % limits.

    Args:
        errors, others: Of the same parts of a volume, as by :func:`eighths`.
        seed: Of the bootstrap over the parts.
        draws: Of it.

    Returns:
        ``"gain"``, ``"low"`` and ``"high"`` in dB, of the mean over parts; they do not
        know how much another volume or training would differ.
    """
    squares = np.stack([errors, others], -1) ** 2
    rng = np.random.default_rng(seed)
    drawn = squares[rng.integers(0, len(squares), (draws, len(squares)))].mean(1)
    many = 10 * np.log10(drawn[:, 1] / drawn[:, 0])
    low, high = np.percentile(many, [2.5, 97.5])
    a, b = squares.mean(0)
    return {"gain": float(10 * np.log10(b / a)), "low": float(low), "high": float(high)}


def isosurface(volume: NDArray, threshold: float) -> float:
    """Area of the surface at a grey value, by marching cubes, per voxel (FIB-SEM, Fig. 2).

    Raises:
        ValueError: if the threshold is outside of the grey values.
    """
    from skimage.measure import marching_cubes, mesh_surface_area

    _check(volume)
    level = threshold - 0.5 if volume.dtype.kind in "ui" else threshold  # "from it on"
    if not volume.min() < level < volume.max():
        raise ValueError(f"{threshold} is outside of the grey values: there is no surface")
    corners, faces, *_ = marching_cubes(volume.astype(np.float32), level)
    return float(mesh_surface_area(corners, faces) / volume.size)


def count_bodies(volume: NDArray, threshold: float, apart: int = 3, smooth: float = 1.0) -> int:
    """How many particles there are: peaks of the distance to the surface, after smoothing.

    Touching particles count apart.

    Args:
        apart: Voxels between two peaks, at least.
        smooth: Sigma in voxels.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.feature import peak_local_max

    _check(volume)
    inside = volume >= threshold
    depth = gaussian_filter(distance_transform_edt(inside), smooth)
    how = dict(min_distance=apart, exclude_border=False, labels=inside.astype(np.uint8))
    return len(peak_local_max(depth, **how))


def seams(volume: NDArray, places: list[int], axis: int = 0) -> float:
    """Difference of planes across joints over that of all neighbouring planes; 1 for no seam.

    Args:
        places: Numbers of the first planes after a joint.
        axis: Across which the joints lie.
    """
    _check(volume)
    steps = np.diff(np.moveaxis(volume, axis, 0).astype(np.float32), axis=0)
    energy = np.square(steps).mean((1, 2), dtype=float)
    return float(energy[np.asarray(places) - 1].mean() / energy.mean())
