"""Agreement of two segmentations: confusion, Dice, boundaries, particles and cracks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    distance_transform_edt,
    gaussian_filter,
    label,
)
from scipy.spatial import cKDTree

from srlib.metrics.checks import check_images, check_labels, count_phases


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

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> metrics.confusion(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]])).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
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


def confused_fraction(found: NDArray, truth: NDArray, pair: tuple[int, int]) -> float:
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


def threshold(image: NDArray, mask: NDArray | None = None) -> float:
    """Otsu's grey value between particles and matrix, inside of the mask."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(image[check_images(image, mask=mask)]))


def detection_errors(
    found: NDArray, truth: NDArray, least: int = 20, overlap: float = 0.25
) -> dict[str, float]:
    """Objects that an image shows and the truth does not, and the reverse (IN-43).

    Args:
        found: Bool image of what was found.
        truth: Bool image of what is there.
        least: Pixels of an object that counts.
        overlap: Share of an object that must be in the other image; less, and it is missed (of the
            truth) or false (of the found).

    Returns:
        Numbers ``"true"``, ``"found"``, ``"missed"``, ``"false"``.
    """
    check_images(found, truth)

    def alone(these: NDArray, others: NDArray) -> tuple[int, int]:
        numbers, n = label(these, np.ones((3, 3)))
        sizes = np.bincount(numbers.ravel(), minlength=n + 1)[1:]
        shared = np.bincount(numbers[others], minlength=n + 1)[1:]
        counted = sizes >= least
        return int(counted.sum()), int((counted & (shared < overlap * sizes)).sum())

    (true, missed), (seen, false) = alone(truth, found), alone(found, truth)
    return {"true": true, "found": seen, "missed": missed, "false": false}


def per_thousand(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Missed per 1000 true and false per 1000 found objects, over several :func:`audit`."""
    total = {k: sum(c[k] for c in counts) for k in ("true", "found", "missed", "false")}
    return {
        "missed": 1000 * total["missed"] / max(total["true"], 1),
        "false": 1000 * total["false"] / max(total["found"], 1),
    }


def particles(image: NDArray, mask: NDArray, smooth: float = 1.5) -> NDArray:
    """Bool image of what is darker than Otsu's threshold after a little smoothing."""
    image = gaussian_filter(image, smooth)
    return (image < threshold(image, mask)) & mask


def cracks(image: NDArray, mask: NDArray, width: int = 5) -> NDArray:
    """Bool image of narrow bright gaps in particles: what a closing of :func:`particles` fills.

    Of a crack, a gap filled with electrolyte that is as bright as the matrix (InDI, on Fig. 3). It
    also finds the gap between two particles that nearly touch.

    Args:
        width: Pixels of the widest gap.
    """
    return gaps(particles(image, mask, 1.0), width) & mask


def gaps(dark: NDArray, width: int = 5) -> NDArray:
    """What a closing with a disc of diameter ``width`` + 1 adds to a bool image."""
    reach = (width + 1) // 2
    disc = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    return binary_closing(np.pad(dark, reach), disc)[reach:-reach, reach:-reach] & ~dark


def _check_masks(found: NDArray, truth: NDArray, mask: NDArray | None) -> NDArray:
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

    Example:
        >>> import numpy as np
        >>> from srlib.metrics.segmentation import dice
        >>> found, truth = np.array([[1, 1, 0]]) > 0, np.array([[0, 1, 0]]) > 0
        >>> round(dice(found, truth), 2)  # 2 * 1 / (2 + 1)
        0.67
    """
    mask = _check_masks(found, truth, mask)
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
    _check_masks(truth, truth, None)
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
    return _f(*_gaps(found, truth, _check_masks(found, truth, mask)), within)


def _gaps(found: NDArray, truth: NDArray, mask: NDArray) -> tuple[NDArray, NDArray]:
    """From each pixel of one outline to the other outline: of the found one, of the true one."""
    lines = [outline(found), outline(truth)]
    gaps = []
    for line, other in zip(lines, lines[::-1], strict=True):
        places = np.argwhere(line & mask)
        near = cKDTree(np.argwhere(other)) if other.any() else None
        gaps.append(near.query(places)[0] if near and len(places) else np.full(len(places), np.inf))
    return gaps[0], gaps[1]


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
    mask = _check_masks(found, truth, mask)
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
        inside = _check_masks(one, true, mask)
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
