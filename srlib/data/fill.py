"""Fill values: the number that stands where nothing was measured, such as the 0 of a border.

Alignment, a round field of view and cropping leave areas of one exact value. They are no part of
the sample, and grey limits, thresholds and networks must not see them.
"""

import numpy as np
from scipy.ndimage import binary_erosion, binary_propagation

PLANES = 16  # that are looked at
SHARE = 0.002  # of the voxels; less is not worth a mask
GAP = 0.05  # of the range of the sample, free of other values, sets a fill value apart


def fill_value(volume) -> float | None:
    """The value that stands where nothing was measured; None if there is none.

    It is NaN, or the smallest or largest value of the volume if flat areas of it reach the border
    of planes and it is either set apart from all other values, or fills a corner of nearly every
    plane. A saturated detector gives flat areas too; they lie inside, and grey values lead up to
    them.

    Args:
        volume: Grey values ``(D, H, W)`` or ``(H, W)``, an array or a file; some planes are read.

    >>> grey = np.random.default_rng(0).normal(3e4, 1e3, (8, 40, 40))
    >>> grey[:, :, :4] = 0
    >>> fill_value(grey)
    0.0
    """
    planes = sampled_planes(volume, PLANES)
    if planes.dtype.kind == "f" and (missing := ~np.isfinite(planes)).mean() > 0:
        return float("nan") if np.isnan(planes[missing]).all() else None
    low, high = planes.min(), planes.max()
    for value in (low, high) if low < high else ():
        flat = np.stack([_from_the_border(plane == value) for plane in planes])
        if flat.mean() < SHARE:
            continue
        others = planes[planes != value].astype(float)
        near = np.abs(others - float(value)) < GAP * np.ptp(others)
        corners = flat[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        if near.mean() < 1e-3 or (corners.mean(0) >= 0.9).any():
            return float(value)
    return None


def measured(values: np.ndarray, fill: float | None) -> np.ndarray:
    """Where values are not the fill value, nor NaN or infinite; bool."""
    found = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    return found if fill is None or np.isnan(fill) else found & (values != fill)


def sampled_planes(volume, most: int) -> np.ndarray:
    """Up to ``most`` planes along the first axis of a volume, or an image as one plane."""
    if volume.ndim == 2:
        return np.asarray(volume)[None]
    chosen = np.unique(np.linspace(0, len(volume) - 1, min(most, len(volume))).astype(int))
    return np.stack([np.asarray(volume[int(k)]) for k in chosen])


def _from_the_border(flat: np.ndarray) -> np.ndarray:
    """The flat areas of a plane, 3 pixels wide or more, that touch its border."""
    core = binary_erosion(flat, np.ones((3, 3)), border_value=1)
    border = np.ones(flat.shape, bool)
    border[1:-1, 1:-1] = False
    return binary_propagation(core & border, mask=core)
