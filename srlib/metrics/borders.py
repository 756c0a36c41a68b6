"""Measures of a segmentation at its borders: who is right near an edge, and where edges are drawn.

Segmentations are bool ``(H, W)``, True in the particles; masks are bool ``(H, W)``, True where a
pixel counts. Distances are in pixels. The border of the image is no edge.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.spatial import cKDTree


def _check(found: NDArray, truth: NDArray, mask: NDArray | None) -> NDArray:
    """The mask, after checks of what it masks."""
    for name, one in (("found", found), ("truth", truth)):
        if one.ndim != 2 or one.shape != truth.shape or one.dtype != bool:
            raise ValueError(f"{name} should be a bool image (H, W), not {one.dtype} {one.shape}")
    mask = np.ones(truth.shape, bool) if mask is None else mask
    if mask.shape != truth.shape or not mask.any():
        raise ValueError(f"the mask should be {truth.shape} and not empty")
    return mask


def dice(found: NDArray, truth: NDArray, mask: NDArray | None = None) -> float:
    r"""Overlap of two segmentations, :math:`2|A\cap B| / (|A| + |B|)`, in [0, 1].

    1 if both are empty inside of the mask.
    """
    mask = _check(found, truth, mask)
    total = (found & mask).sum() + (truth & mask).sum()
    return float(2 * (found & truth & mask).sum() / total) if total else 1.0


def outline(found: NDArray) -> NDArray:
    """Pixels of a particle that have a neighbour (of four) outside of it; bool ``(H, W)``."""
    return found & binary_dilation(~found)


def edge_distance(truth: NDArray) -> NDArray:
    """Distance of each pixel's centre from the nearest edge: positive inside of a particle.

    The edge runs between two pixels, so that the nearest of them are at +0.5 and -0.5; without any
    edge all are at infinity.

    Args:
        truth: Bool ``(H, W)``.
    """
    _check(truth, truth, None)
    if truth.all() or not truth.any():
        return np.where(truth, np.inf, -np.inf)
    inside, outside = distance_transform_edt(truth) - 0.5, distance_transform_edt(~truth) - 0.5
    return np.where(truth, inside, -outside)


def boundary_f(
    found: NDArray, truth: NDArray, within: float = 1.0, mask: NDArray | None = None
) -> float:
    """F-score of the outlines: the harmonic mean of precision and recall, in [0, 1].

    Precision is the share of the found outline that lies at most ``within`` pixels from the true
    outline, recall the share of the true one that is so near to the found one (Csurka et al. 2013,
    "What is a good evaluation measure for semantic segmentation?"). 1 if there is no outline in
    either, 0 if there is one in only one of them.
    """
    return _f(*_gaps(found, truth, _check(found, truth, mask)), within)


def _gaps(found: NDArray, truth: NDArray, mask: NDArray) -> list[NDArray]:
    """From each pixel of one outline to the other outline: of the found one, of the true one."""
    lines = [outline(found), outline(truth)]
    gaps = []
    for line, other in zip(lines, lines[::-1], strict=True):
        places = np.argwhere(line & mask)
        near = cKDTree(np.argwhere(other)) if other.any() else None
        gaps.append(near.query(places)[0] if near and len(places) else np.full(len(places), np.inf))
    return gaps


def _f(found: NDArray, true: NDArray, within: float) -> float:
    if not len(found) or not len(true):
        return float(not len(found) and not len(true))
    precision, recall = (float((gap <= within).mean()) for gap in (found, true))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def accuracy_by_distance(
    found: NDArray, truth: NDArray, mask: NDArray | None = None, reach: int = 12
) -> tuple[NDArray, NDArray, NDArray]:
    """How many pixels are right at each distance from a true edge.

    Returns:
        Three arrays ``(2 * reach,)``: the middles of bins of one pixel, from ``-reach + 0.5``
        (matrix) to ``reach - 0.5`` (particle); pixels that are right; all pixels. Sum the last two
        over slices before you divide.
    """
    mask = _check(found, truth, mask)
    middles = np.arange(-reach, reach) + 0.5
    place = np.floor(edge_distance(truth).clip(-1e6, 1e6) + reach).astype(int)
    counted = mask & (place >= 0) & (place < 2 * reach)
    total = np.bincount(place[counted], minlength=2 * reach)
    right = np.bincount(place[counted & (found == truth)], minlength=2 * reach)
    return middles, right, total


def score(
    found: Sequence[NDArray], truth: Sequence[NDArray], mask: NDArray | None = None, band: float = 3
) -> Mapping[str, float]:
    """All measures of a stack of slices; the mean over the slices of each.

    Args:
        found: Bool ``(D, H, W)``.
        truth: Bool of the same shape.
        mask: ``(H, W)``.
        band: Pixels on either side of a true edge that make the edge band.
    """
    rows = []
    for one, true in zip(found, truth, strict=True):
        inside = _check(one, true, mask)
        near = np.abs(edge_distance(true)) <= band
        gaps = _gaps(one, true, inside)
        rows.append(
            {
                "Dice": dice(one, true, inside),
                "boundary F, 1 px": _f(*gaps, 1),
                "boundary F, 2 px": _f(*gaps, 2),
                "Dice near edges": dice(one, true, inside & near) if (inside & near).any() else 1.0,
                "Dice elsewhere": dice(one, true, inside & ~near),
            }
        )
    if not rows:
        raise ValueError("there is no slice to score")
    return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
