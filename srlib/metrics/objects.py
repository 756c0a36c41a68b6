"""What a restored grey slice shows, loses or invents: particles and cracks against the truth.

Images are float ``(H, W)`` with grey values in [-1, 1]; dark particles in a bright matrix. Masks
are bool ``(H, W)``, True where a pixel counts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, gaussian_filter, label


def check(image: NDArray, *others: NDArray, mask: NDArray | None = None) -> NDArray:
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


def threshold(image: NDArray, mask: NDArray | None = None) -> float:
    """Otsu's grey value between particles and matrix, inside of the mask."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(image[check(image, mask=mask)]))


def audit(
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
    check(found, truth)

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
