"""Measures of voxels, faces and edges: how much of each phase, and how finely divided.

A 2D image and a 3D volume of the same isotropic material give the same numbers, because all of
them are shares: of the voxels, of the faces between voxels, or of the edges between four voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.labels import check_axis, check_labels, count_phases

_CHUNK = 2**22

Pair = tuple[int, int]


def _slabs(labels: NDArray) -> Iterator[tuple[NDArray, int]]:
    """Yield pieces along axis 0, each with one plane of the next, and the planes it owns."""
    step = max(1, _CHUNK // max(1, labels[0].size))
    for start in range(0, len(labels), step):
        yield labels[start : start + step + 1], min(step, len(labels) - start)


def _join(bits: NDArray, axis: int) -> NDArray:
    """Union of the phase bits on the two sides of every face normal to ``axis``."""
    left = [slice(None)] * bits.ndim
    right = left.copy()
    left[axis], right[axis] = slice(None, -1), slice(1, None)
    return bits[tuple(left)] | bits[tuple(right)]


def volume_fractions(labels: NDArray, n_phases: int | None = None) -> NDArray:
    """Share of the voxels (or pixels) that belongs to each phase (ME-01).

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.
        n_phases: ``n``; the largest label plus one if not given.

    Returns:
        ``n`` shares in [0, 1] that sum to 1.

    Raises:
        ValueError: if the labels are not whole numbers ``0 .. n-1`` in two or three dimensions.
    """
    labels = check_labels(labels)
    n = count_phases(labels, n_phases)
    counts = np.zeros(n)
    for piece, own in _slabs(labels):
        counts += [np.count_nonzero(piece[:own] == phase) for phase in range(n)]
    return counts / labels.size


def face_counts(labels: NDArray, n: int, axes: Sequence[int]) -> tuple[dict[Pair, int], int]:
    """Faces between each pair of phases, and all faces, over the given axes."""
    pairs = dict.fromkeys(combinations(range(n), 2), 0)
    total = 0
    for piece, own in _slabs(labels):
        bits = np.left_shift(np.uint8(1), piece)
        for axis in axes:
            joined = _join(bits if axis == 0 else bits[:own], axis)
            total += joined.size
            for a, b in pairs:
                pairs[a, b] += int(np.count_nonzero(joined == (1 << a | 1 << b)))
    return pairs, total


def interphase_areas(
    labels: NDArray, n_phases: int | None = None, axis: int | None = None
) -> dict[Pair, float]:
    """Faces between two phases as a share of all interior faces (ME-02; SuperRes, Fig. 2).

    In 2D the faces are the edges between pixels; a slice of an isotropic volume gives the
    volume's value.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.
        n_phases: ``n``; the largest label plus one if not given.
        axis: Count only the faces normal to this axis; all axes if not given.

    Returns:
        ``{(a, b): share}`` for every pair ``a < b``, each in [0, 1].

    Raises:
        ValueError: if the labels, ``n_phases`` or ``axis`` are out of range.
    """
    labels = check_labels(labels)
    axes = range(labels.ndim) if axis is None else [check_axis(labels, axis)]
    counts, total = face_counts(labels, count_phases(labels, n_phases), axes)
    return {pair: count / max(total, 1) for pair, count in counts.items()}


def tpb_counts(labels: NDArray) -> tuple[int, int]:
    """Interior edges (2D: vertices) that touch three phases, and all of them."""
    triple = total = 0
    for piece, own in _slabs(labels):
        bits = np.left_shift(np.uint8(1), piece)
        for first, second in combinations(range(labels.ndim), 2):
            around = _join(_join(bits if first == 0 else bits[:own], first), second)
            triple += int(np.count_nonzero(np.bitwise_count(around) >= 3))
            total += around.size
    return triple, total


def tpb_density(labels: NDArray) -> float:
    """Triple-phase boundary: share of interior voxel edges that touch three phases (ME-05).

    An interior edge is shared by four voxels; it counts if they hold at least three phases
    (SuperRes, section 2.3). In 2D an "edge" is the vertex of a 2 x 2 window of pixels, which is a
    voxel edge seen end-on, so slices of an isotropic volume give the volume's value.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.

    Returns:
        Share in [0, 1]; 0 when fewer than three phases are present.

    Raises:
        ValueError: if the labels are not whole numbers ``0 .. n-1`` in two or three dimensions.
    """
    triple, total = tpb_counts(check_labels(labels))
    return triple / max(total, 1)


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
    """
    labels = check_labels(labels)
    if min(labels.shape) < 2:
        raise ValueError(f"every axis should hold two voxels or more, not {labels.shape}.")
    density = np.array([_unlike_profile(labels, axis).mean() for axis in range(labels.ndim)])
    return float(np.abs(density / density.mean() - 1).max()) if density.any() else 0.0
