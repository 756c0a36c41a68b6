"""What every measure asks of labels, grey images and volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_PHASES = 8


def check_labels(labels: NDArray, ndims: tuple[int, ...] = (2, 3)) -> NDArray:
    """Return ``labels`` as ``uint8``, or say in one sentence what is wrong with them.

    Args:
        labels: Integer array with phases ``0 .. n-1``, at most :data:`MAX_PHASES` of them.
        ndims: Allowed numbers of dimensions.

    Raises:
        ValueError: for another number of dimensions, another kind of number, an empty array, or
            labels outside ``0 .. MAX_PHASES - 1``.
    """
    labels = np.asarray(labels)
    if labels.ndim not in ndims:
        want = " or ".join(f"{n}D" for n in ndims)
        raise ValueError(f"labels should be {want}, but the array has {labels.ndim} dimensions.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels should be whole numbers, not {labels.dtype}: convert with .astype(np.uint8)."
        )
    if labels.size == 0:
        raise ValueError(f"labels is empty (shape {labels.shape}): give at least one voxel.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MAX_PHASES:
        raise ValueError(
            f"labels run from {low} to {high}, but phases are numbered 0, 1, ... up to "
            f"{MAX_PHASES - 1}: renumber them, as np.unique(..., return_inverse=True) does."
        )
    return labels.astype(np.uint8, copy=False)


def count_phases(labels: NDArray, n_phases: int | None = None) -> int:
    """Number of phases: ``n_phases`` if it covers the labels found, else the largest plus one."""
    found = int(labels.max()) + 1
    if n_phases is None:
        return found
    if not found <= n_phases <= MAX_PHASES:
        raise ValueError(
            f"n_phases is {n_phases}, but it should be at least {found} (the labels found) "
            f"and at most {MAX_PHASES}."
        )
    return int(n_phases)


def check_axis(labels: NDArray, axis: int) -> int:
    """Return ``axis`` if the array has it."""
    if axis not in range(labels.ndim):
        raise ValueError(f"axis is {axis}, but it should be 0 to {labels.ndim - 1}.")
    return int(axis)


def check_phase(phase: int) -> int:
    """Return ``phase`` if it is a possible label."""
    if phase not in range(MAX_PHASES):
        raise ValueError(f"phase is {phase}, but it should be 0 to {MAX_PHASES - 1}.")
    return int(phase)


def check_voxel(voxel: float) -> float:
    """Return ``voxel`` if it can be an edge."""
    if not voxel > 0:
        raise ValueError(f"voxel is {voxel}, but the edge of a voxel should be above 0.")
    return float(voxel)


def check_volumes(*volumes: NDArray) -> None:
    shape = np.shape(volumes[0])
    for v in volumes:
        if np.ndim(v) != 3 or np.shape(v) != shape:
            raise ValueError(f"volumes should have three axes alike, not {shape} and {np.shape(v)}")


def check_images(image: NDArray, *others: NDArray, mask: NDArray | None = None) -> NDArray:
    """The mask, after checks of what it masks.

    Raises:
        ValueError: if images differ in shape or are not finite, or the mask does not fit.
    """
    for one in (image, *others):
        if one.ndim != 2 or one.shape != image.shape:
            raise ValueError(f"images should be (H, W) alike, not {image.shape} and {one.shape}")
        if not np.isfinite(one).all():
            raise ValueError("an image should hold finite numbers only")
    mask = np.ones(image.shape, bool) if mask is None else mask
    if mask.shape != image.shape or not mask.any():
        raise ValueError(f"the mask should be {image.shape} and not empty")
    return mask
