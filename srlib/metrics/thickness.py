"""How thick the parts of a phase are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.labels import check_axis, check_labels, check_phase


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
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    labels = check_labels(labels)
    axes = [check_axis(labels, axis) for axis in axes]
    if not axes:
        raise ValueError("axes is empty: name at least one axis.")
    if width != int(width) or width < 3 or width % 2 == 0:
        raise ValueError(f"width is {width}, but it should be odd and at least 3.")
    mask = (labels == check_phase(phase)).view(np.uint8)
    opened = mask
    for shrink_or_grow in (minimum_filter1d, maximum_filter1d):
        for axis in axes:
            opened = shrink_or_grow(opened, int(width), axis, mode="nearest")
    return mask > opened
