"""Fill values: what stands in an image where nothing was measured.

The border that an alignment leaves, the data bar of a microscope, -9999 or NaN for "no data". Such
voxels are no grey values, so they count neither for grey limits nor for a training, and come back
as they were.

A finite value is fill where it stands in flat patches, of 3 x 3 pixels or more, whose edge is
abrupt: the pixels around them are as any of the sample. Around a dark or bright part that is merely
saturated they come close to it, because an image is blurred.
"""

from typing import Any

import numpy as np
from scipy import ndimage

SHARE = 1e-3  # of the pixels: flat patches of a fill value cover as much, or more
ABRUPT = 0.5  # step at the edge of a patch, over the distance to the sample's median
FAR = 0.25  # spans of the sample beyond its ends, from which on a value need not touch the border
NEVER = 1.5  # spans beyond its median, from which on a single pixel is fill as well
ISLAND = 0.1  # of the largest part: smaller ones amid fill are text of a data bar
CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool)


def find_fill(stack: np.ndarray, axis: int = 0, most: int = 32) -> tuple[float, ...]:
    """Finite values of a grey stack that mark pixels as not measured.

    Args:
        stack: Sections, three axes, grey values of any kind.
        axis: The depth.
        most: Sections to look at, evenly spaced.

    Returns:
        The values, none for a stack that is measured throughout; NaN and infinity always are fill
        and not among them. Sections of one value only do not count.
    """
    return _find(sample_sections(stack, axis, most))


def sample_sections(stack: np.ndarray, axis: int = 0, most: int = 32) -> list[np.ndarray]:
    """Up to ``most`` sections of a stack, evenly spaced, each read alone."""
    count = stack.shape[axis]
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    return [np.asarray(stack[(slice(None),) * axis + (int(k),)]) for k in chosen]


def _find(sections: list[np.ndarray]) -> tuple[float, ...]:
    counts: dict[Any, int] = {}
    edges: dict[Any, int] = {}
    seen: list[np.ndarray] = []
    for section in sections:
        flat = _flat(section)
        if flat.all():
            continue
        seen.append(section)
        border = np.concatenate([section[0], section[-1], section[:, 0], section[:, -1]])
        for value, count in zip(*np.unique(section[flat], return_counts=True), strict=True):
            counts[value] = counts.get(value, 0) + int(count)
            edges[value] = edges.get(value, 0) + int((border == value).sum())
    if not seen:
        return ()
    total = sum(section.size for section in seen)
    ordered = sorted(counts, key=counts.__getitem__, reverse=True)
    likely = [value for value in ordered if counts[value] > SHARE * total][:4]
    ends = _impossible(thinned(seen), SHARE)
    likely += [value for value in ends if value not in likely]
    if not likely:
        return ()
    some = thinned(seen)
    rest = np.concatenate([s[np.isfinite(s) & ~np.isin(s, likely)] for s in some])
    if len(np.unique(rest)) < 16:  # phases, not grey values
        return ()
    low, middle, high = np.percentile(rest, [0.5, 50, 99.5]).tolist()
    found = []
    for value in likely:
        if value in ends:
            found.append(value.item())
            continue
        outside = max(low - float(value), float(value) - high) > FAR * (high - low)
        around = np.concatenate([s[_around(_patches(s, value)) & np.isfinite(s)] for s in seen])
        around = around[~np.isin(around, likely)].astype(float)
        if not len(around) or not (outside or edges[value] > 0):
            continue
        if np.median(np.abs(around - float(value))) > ABRUPT * abs(middle - float(value)):
            found.append(value.item())
    return tuple(found)


def thinned(sections: list[np.ndarray], most: int = 2**23) -> list[np.ndarray]:
    """Every so many pixels of sections, so that statistics of large ones take seconds."""
    step = int(np.ceil(np.sqrt(sum(section.size for section in sections) / most)))
    return [section[::step, ::step] for section in sections] if step > 1 else sections


def _impossible(sections: list[np.ndarray], share: float) -> list:
    """The least and the greatest value, if many pixels have it, far from all others."""
    values = np.concatenate([section[np.isfinite(section)] for section in sections])
    found = []
    for end in (values.min(), values.max()) if len(values) else ():
        rest = values[values != end]
        if len(rest) and len(values) - len(rest) > share * len(values):
            low, middle, high = np.percentile(rest, [0.5, 50, 99.5])
            if abs(float(end) - middle) > NEVER * (high - low) > 0:
                found.append(end)
    return found


def fill_mask(section: np.ndarray, values: tuple[float, ...] = ()) -> np.ndarray:
    """Where a section ``(H, W)`` was not measured.

    Args:
        section: Grey values of any kind.
        values: Of :func:`find_fill`, for its stack.

    Returns:
        Boolean, of the shape of the section: NaN and infinity, patches of the values whose edge is
        abrupt, and small islands amid them.
    """
    mask = ~np.isfinite(section)
    there = [value for value in values if (section == value).any()]
    if not there:
        return mask
    sample = section[~mask & ~np.isin(section, there)].astype(float)
    if not len(sample):
        return np.ones(section.shape, bool)
    low, middle, high = np.percentile(sample, [0.5, 50, 99.5])
    for value in there:
        same = section == value
        if abs(float(value) - middle) > NEVER * max(high - low, 1e-12):
            mask |= same
            continue
        patches, count = ndimage.label(same, SQUARE)
        core = np.unique(patches[_flat(section) & same])
        ring = np.where(same, 0, ndimage.maximum_filter(patches, footprint=CROSS))
        ring[~np.isfinite(section) | np.isin(section, there)] = 0
        steps = np.abs(np.nan_to_num(section.astype(float)) - float(value))
        for patch in core[core > 0]:
            around = steps[ring == patch]
            if not len(around) or np.median(around) > ABRUPT * abs(middle - float(value)):
                mask |= patches == patch
    return mask | _islands(mask)


def replace_fill(section: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A section with the nearest measured pixel wherever the mask is true."""
    if not mask.any() or mask.all():
        return section
    place = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return section[tuple(place)]


def _flat(section: np.ndarray) -> np.ndarray:
    """Pixels in the middle of 3 x 3 of the same value; at the border, of what there is of them."""
    if section.dtype.kind == "f":
        section = np.where(np.isfinite(section), section, np.nan)
    high = ndimage.maximum_filter(section, 3, mode="nearest")
    low = ndimage.minimum_filter(section, 3, mode="nearest")
    return high == low


def _patches(section: np.ndarray, value: float) -> np.ndarray:
    """The flat patches of one value, whole."""
    return ndimage.binary_dilation(_flat(section) & (section == value), SQUARE)


def _around(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask, CROSS) & ~mask


def _islands(mask: np.ndarray) -> np.ndarray:
    """Small parts of a section that lie wholly amid fill."""
    parts, count = ndimage.label(~mask)
    if count < 2:
        return np.zeros_like(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    small = sizes < ISLAND * sizes.max()
    small[0] = False
    return small[parts]
