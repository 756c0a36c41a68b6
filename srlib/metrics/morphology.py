"""How much of each phase there is, and how finely divided: fractions, areas, bodies, pores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from srlib.metrics.checks import (
    check_axis,
    check_labels,
    check_phase,
    check_volumes,
    check_voxel,
    count_phases,
)
from srlib.metrics.transport import flowing_phase

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

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> metrics.volume_fractions(np.array([[0, 0], [1, 2]])).tolist()
        [0.5, 0.25, 0.25]
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

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> metrics.interphase_areas(np.array([[0, 0], [0, 1]]))  # two of four edges
        {(0, 1): 0.5}
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

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> metrics.tpb_density(np.array([[0, 1], [2, 2]]))  # its one vertex touches three phases
        1.0
    """
    triple, total = tpb_counts(check_labels(labels))
    return triple / max(total, 1)


def surface_areas(labels: NDArray, n_phases: int | None = None, voxel: float = 1.0) -> NDArray:
    """Surface of each phase with all others, per volume.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.
        n_phases: n; by default the largest label plus one.
        voxel: Edge of a voxel; the result has one over its unit.

    Returns:
        ``(n,)``, from the faces of voxels as in :func:`srlib.metrics.interphase_areas`; in 2D it is
        what a cut shows of it.

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> layers = np.zeros((4, 4, 4), int)
        >>> layers[2:] = 1
        >>> metrics.surface_areas(layers, voxel=0.5).round(2).tolist()  # of each per volume
        [0.67, 0.67]
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


def thin_parts(labels: NDArray, phase: int, axes: Sequence[int], width: int = 5) -> NDArray:
    r"""Voxels of a phase that are too thin for a block of ``width`` voxels along ``axes``.

    .. math:: T = P \setminus (P \circ B)

    with the phase P, the block B and the morphological opening :math:`\circ`, the union of all
    blocks inside P. A fibril along axis 2 of a separator (SuperRes, section 2.2) is thin along
    axes 0 and 1, wherever it runs; a lamella across axis 2 is not.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D.
        phase: Phase to take apart.
        axes: Sides of the block; it is one voxel thick along the other axes.
        width: Edge of the block in voxels, odd, 3 or more.

    Returns:
        ``bool`` of the shape of the labels; its mean is the share of all voxels that is thin. A
        piece cut by the border counts as going on beyond it.

    Raises:
        ValueError: if labels, phase or axes are out of range, or the width is even or below 3.
    """
    from scipy.ndimage import grey_opening

    labels = check_labels(labels)
    axes = [check_axis(labels, axis) for axis in axes]
    if not axes:
        raise ValueError("axes is empty: name at least one axis.")
    if width != int(width) or width < 3 or width % 2 == 0:
        raise ValueError(f"width is {width}, but it should be odd and at least 3.")
    mask = (labels == check_phase(phase)).view(np.uint8)
    block = [int(width) if axis in axes else 1 for axis in range(mask.ndim)]
    return mask > grey_opening(mask, block, mode="nearest")


def isosurface(volume: NDArray, threshold: float) -> float:
    """Area of the surface at a grey value, by marching cubes, per voxel (FIB-SEM, Fig. 2).

    Raises:
        ValueError: if the threshold is outside of the grey values.
    """
    from skimage.measure import marching_cubes, mesh_surface_area

    check_volumes(volume)
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

    check_volumes(volume)
    inside = volume >= threshold
    depth = gaussian_filter(distance_transform_edt(inside), smooth)
    options = dict(min_distance=apart, exclude_border=False, labels=inside.astype(np.uint8))
    return len(peak_local_max(depth, **options))


def pore_sizes(labels: NDArray, phase: int = 0, voxel: float = 1.0) -> tuple[NDArray, NDArray]:
    """How wide the places of a phase are: its distribution of local thickness.

    The width at a voxel is the diameter of the largest ball that covers the voxel and fits into
    the phase (Hildebrand and Rueegsegger, J. Microscopy 185, 67, 1997), by
    ``porespy.filters.local_thickness``. Radii are whole voxels, so that a slit of 3 or 4 voxels
    counts as 4. A piece cut by the border counts as going on beyond it.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: Phase to measure.
        voxel: Edge of a voxel.

    Returns:
        ``(diameters, share)``, both of shape ``(n,)``: the diameters that occur, rising, in units
        of ``voxel``, and the share of the phase's volume that is this wide or narrower; its last
        value is 1.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or voxel
            is out of range.
    """
    from porespy.filters import local_thickness

    mask = flowing_phase(labels, phase)
    voxel = check_voxel(voxel)
    radii, counts = np.unique(local_thickness(mask, smooth=False)[mask], return_counts=True)
    return 2.0 * radii * voxel, np.cumsum(counts) / counts.sum()


def euler_number(labels: NDArray, phase: int = 0, voxel: float = 1.0) -> float:
    """Pieces minus loops plus enclosed cavities of a phase, per volume.

    The lower (the more negative), the better connected; it rises when throats are lost. Counted by
    ``skimage.measure.euler_number``, voxels of the phase connecting through shared faces only, so
    that all else connects through edges and corners, too.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: Phase to measure.
        voxel: Edge of a voxel.

    Returns:
        Euler number per cubed unit of ``voxel``; times the number of voxels, a whole number.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or voxel
            is out of range.
    """
    from skimage.measure import euler_number as count

    mask = flowing_phase(labels, phase)
    return count(mask, connectivity=1) / (mask.size * check_voxel(voxel) ** 3)
