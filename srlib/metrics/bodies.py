"""Phase by phase: what was taken for what, how much surface there is, how many small bodies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from srlib.metrics.faces import interphase_areas
from srlib.metrics.labels import check_labels, check_phase, check_voxel, count_phases


def confusion(found: NDArray, truth: NDArray, n_phases: int | None = None) -> NDArray:
    """What each true phase was taken for.

    Args:
        found, truth: Phases ``0 .. n-1`` of one shape, 2D or 3D.
        n_phases: n; by default the largest label of either, plus one.

    Returns:
        ``(n, n)``: row a, column b is the share of the true phase a that is b in ``found``. A row
        sums to 1, and is NaN for a phase that does not occur.

    Raises:
        ValueError: if the shapes differ.
    """
    found, truth = check_labels(found), check_labels(truth)
    if found.shape != truth.shape:
        raise ValueError(
            f"the volume {found.shape} and the truth {truth.shape} differ in shape: cut off of the "
            "truth what inference cuts off, one coarse voxel at each face"
        )
    n = count_phases(np.maximum(found.max(), truth.max())[None], n_phases)
    counts = np.bincount(n * truth.ravel().astype(np.intp) + found.ravel(), minlength=n * n)
    counts = counts.reshape(n, n)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(1, keepdims=True)


def mixed_up(found: NDArray, truth: NDArray, pair: tuple[int, int]) -> float:
    """Of what is one of two phases and found to be one of them, the share that is the other.

    Args:
        found, truth: Phases of one shape.
        pair: The two phases.

    Returns:
        0 to 1; NaN if there is nothing of either.
    """
    found, truth = check_labels(found), check_labels(truth)
    both = np.isin(found, pair) & np.isin(truth, pair)
    return float((found != truth)[both].mean()) if both.any() else float("nan")


def surface_areas(labels: NDArray, n_phases: int | None = None, voxel: float = 1.0) -> NDArray:
    """Surface of each phase with all others, per volume.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.
        n_phases: n; by default the largest label plus one.
        voxel: Edge of a voxel; the result has one over its unit.

    Returns:
        ``(n,)``, from the faces of voxels as in :func:`srlib.metrics.interphase_areas`; in 2D it is
        what a cut shows of it.
    """
    n, voxel = count_phases(check_labels(labels), n_phases), check_voxel(voxel)
    out = np.zeros(n)
    for pair, area in interphase_areas(labels, n).items():
        out[list(pair)] += area * labels.ndim / voxel
    return out


def small_bodies(
    labels: NDArray, phase: int = 0, below: int = 512, voxel: float = 1.0
) -> tuple[float, float]:
    """How many separate bodies of a phase are smaller than so many voxels, and what they hold.

    A body is what hangs together over faces of voxels. What the border cuts counts as it is.

    Args:
        labels: Phases ``0 .. n-1``, ``(D, H, W)``.
        phase: The phase, pore by default.
        below: Voxels; 512 fine voxels are one coarse one at scale factor 8.
        voxel: Edge of a voxel.

    Returns:
        Bodies per volume, in one over the cube of the unit of ``voxel``, and their share of the
        volume.
    """
    labels, phase = check_labels(labels, (3,)), check_phase(phase)
    parts, _ = label(labels == phase)
    sizes = np.bincount(parts.ravel())[1:]
    small = sizes[sizes < below]
    return len(small) / labels.size / check_voxel(voxel) ** 3, float(small.sum() / labels.size)
