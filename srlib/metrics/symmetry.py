"""Direction and grid: the symmetries of a square, anisotropy, grid imprint, curtaining."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.checks import check_labels, check_phase


def _unlike_profile(labels: NDArray, axis: int) -> NDArray:
    """Share of unlike faces between plane ``i`` and ``i + 1`` along ``axis``."""
    planes = np.moveaxis(labels, axis, 0)
    return np.array([np.mean(p != q) for p, q in zip(planes[:-1], planes[1:], strict=True)])


def grid_imprint(labels: NDArray, factor: int) -> float:
    """How strongly the coarse grid shows through: 0 for a volume that knows of no grid.

    Along each axis the density of unlike faces is averaged over the planes with the same index
    modulo ``factor``. A blocky (nearest-neighbour) volume has all its faces in one class.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D, beginning at a coarse-voxel border.
        factor: Fine voxels per coarse voxel edge, a whole number >= 2.

    Returns:
        Largest relative deviation of a class from the mean of its axis (0.03 is 3 %). Sampling
        noise alone gives a few per cent in small volumes.

    Raises:
        ValueError: if ``factor`` is below 2 or an axis is not longer than ``factor``.
    """
    labels = check_labels(labels)
    if factor != int(factor) or factor < 2 or factor >= min(labels.shape):
        raise ValueError(
            f"factor is {factor}, but it should be a whole number from 2 to less than the "
            f"shortest side ({min(labels.shape)} voxels)."
        )
    worst = 0.0
    for axis in range(labels.ndim):
        profile = _unlike_profile(labels, axis)
        classes = np.array([profile[i :: int(factor)].mean() for i in range(int(factor))])
        if classes.any():
            worst = max(worst, float(np.abs(classes / classes.mean() - 1).max()))
    return worst


def anisotropy(labels: NDArray) -> float:
    """Largest relative deviation of the unlike-face density of one axis from their mean.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D, at least two voxels along each axis.

    Returns:
        0 when all axes agree (or there is one phase); 0.03 means 3 %.

    Raises:
        ValueError: if an axis is only one voxel long, or the labels are out of range.

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> metrics.anisotropy(np.tile([0, 1], (8, 8)))  # all edges across one of two axes
        1.0
    """
    labels = check_labels(labels)
    if min(labels.shape) < 2:
        raise ValueError(f"every axis should hold two voxels or more, not {labels.shape}.")
    density = np.array([_unlike_profile(labels, axis).mean() for axis in range(labels.ndim)])
    return float(np.abs(density / density.mean() - 1).max()) if density.any() else 0.0


def curtaining_index(labels: NDArray, phase: int, lag: int = 1) -> float:
    r"""Curtaining index: how much a phase is drawn out into vertical streaks.

    .. math:: I = \frac{u_h - u_v}{u_h + u_v}, \qquad u(d) = 2\,[S_2(0) - S_2(d)]

    with ``u`` the share of pixel pairs ``lag`` apart, horizontally or vertically, of which exactly
    one is in the phase: what the two-point function has lost at that distance. Ours.

    Args:
        labels: Phases ``0 .. n-1``. In a 2D image the rows run down. A volume is judged by its
            slices normal to each axis, each with the earlier of its two axes downwards, as a
            training without augmentation compares them with the image; the mean counts.
        phase: The phase to judge.
        lag: Distance in voxels; less than the width of a streak.

    Returns:
        From -1 to 1: 1 for vertical lines, 0 without a preferred direction (and for a missing
        phase), -1 for horizontal lines.

    Raises:
        ValueError: if labels or phase are out of range, or an axis is not longer than ``lag``.
    """
    labels = check_labels(labels)
    mask = labels == check_phase(phase)
    if not 1 <= lag < min(labels.shape):
        raise ValueError(f"lag is {lag}, but it should be from 1 to below {min(labels.shape)}.")
    unlike = []
    for axis in range(labels.ndim):
        planes = np.moveaxis(mask, axis, 0)
        unlike.append(float(np.mean(planes[lag:] != planes[:-lag])))
    pairs = combinations(unlike, 2)  # (down, across) of the slices normal to each axis
    return float(np.mean([(h - v) / (h + v) if h + v else 0.0 for v, h in pairs]))


def symmetries(image: np.ndarray) -> list[np.ndarray]:
    """The eight mirrors and quarter turns of a 2D image, as views (SuperRes, Algorithm 1)."""
    turns = [np.rot90(image, k) for k in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]
