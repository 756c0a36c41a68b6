"""Stacks of sections: fewer of them, what lies between by interpolation, and tiles (FIB-SEM).

The sections of a stack lie along one axis, the depth. Of every ``n`` planes the one at
``n * k + n // 2`` is measured.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.interpolate import CubicSpline

METHODS = ("nearest", "linear", "cubic", "spline")
CENTRES = ("measured", "opencv")


def check_stack(stack: np.ndarray, n: float, axis: int = 0, whole: bool = True) -> None:
    """Raise a ValueError that says what to do if this is no grey stack, or ``n`` impossible.

    Args:
        stack: Sections, three axes.
        n: Spacing of the sections in pixels.
        axis: The depth.
        whole: Whether ``n`` must be a whole number.
    """
    if getattr(stack, "ndim", 0) != 3 or min(stack.shape) < 1:
        raise ValueError(f"a stack has three axes, not the shape {np.shape(stack)}")
    if stack.dtype.kind not in "uif":
        raise ValueError(f"grey values must be numbers, not {stack.dtype}: use .astype(np.uint8)")
    if whole and (isinstance(n, bool) or n != int(n) or not 2 <= n <= 32):
        raise ValueError(f"n={n!r} should be a whole number of planes for each measured, 2 to 32")
    if not 1 < n <= 32:
        raise ValueError(f"n={n!r} should be the spacing of the sections in pixels, 2 to 32")
    if axis not in (0, 1, 2):
        raise ValueError(f"axis={axis!r} should be 0, 1 or 2: the one along which slices are few")


def decimate(volume: np.ndarray, n: int, axis: int = 0, offset: int | None = None) -> np.ndarray:
    r"""The sections that are left when one of ``n`` is measured.

    .. math:: u(x, y, z) = u_\mathrm{org}\big(x, y, \lfloor z/n\rfloor\, n + \lfloor n/2\rfloor\big)

    FIB-SEM, Results; :func:`hold` of the result is this u.

    Args:
        volume: Grey values, three axes, a multiple of ``n`` planes along ``axis``.
        n: Planes to one measured.
        axis: The depth.
        offset: Which of the ``n`` is measured; None for ``n // 2``.

    Raises:
        ValueError: if the planes are no multiple of ``n``, or the offset is none of them.

    Example:
        >>> import numpy as np
        >>> from srlib.physics.sectioning import decimate
        >>> volume = np.arange(8.0)[:, None, None] + np.zeros((8, 2, 2))
        >>> decimate(volume, 4)[:, 0, 0].tolist()
        [2.0, 6.0]
    """
    check_stack(volume, n, axis)
    deep, offset = volume.shape[axis], n // 2 if offset is None else offset
    if deep % n:
        raise ValueError(f"{deep} planes are no multiple of n={n}: use {deep // n * n} of them")
    if not 0 <= offset < n:
        raise ValueError(f"offset={offset} should be from 0 to {n - 1}")
    return volume.take(range(offset, deep, n), axis)


def repeat_sections(stack: np.ndarray, n: int, axis: int = 0) -> np.ndarray:
    """Every section repeated ``n`` times: the paper's "Input"."""
    check_stack(stack, n, axis)
    return np.repeat(stack, n, axis)


def plane_count(m: int, n: float) -> int:
    """Planes that ``m`` sections make whose spacing is ``n`` planes, whole or not."""
    return int(np.floor(m * n + 1e-6))


def weights(m: int, n: float, method: str = "linear", centres: str = "measured") -> np.ndarray:
    """What each of ``m`` sections gives to each of ``m * n`` planes, ``(m * n, m)``.

    Args:
        m, n: Sections, and planes to each; any number above 1: section k is at ``n k + n // 2``,
            between two planes where that is no whole number, and the last part of a plane is left
            out.
        method: ``"nearest"``, ``"linear"``, ``"cubic"`` (four points; Keys, a = -0.5, or -0.75 as
            OpenCV) or ``"spline"`` (all points, not-a-knot).
        centres: ``"measured"`` where the sections are, ``n * k + n // 2``; ``"opencv"`` where its
            resize takes them to be, in the middle of n planes: half a plane off for even n.

    Raises:
        ValueError: for an unknown name.
    """
    if method not in METHODS or centres not in CENTRES:
        raise ValueError(f"take a method of {METHODS} and centres of {CENTRES}")
    first, count = n // 2 if centres == "measured" else (n - 1) / 2, plane_count(m, n)
    place = (np.arange(count) - first) / n
    if method == "nearest":  # of two as near the later one, as in the paper's rule
        return np.eye(m)[np.clip(np.floor(place + 0.5).astype(int), 0, m - 1)]
    place = np.clip(place, 0, m - 1) if method in ("linear", "spline") or m == 1 else place
    if m == 1:
        return np.ones((count, 1))
    if method == "spline":
        return CubicSpline(np.arange(m), np.eye(m))(place) if m > 3 else weights(m, n, "linear")
    low, out = np.floor(place).astype(int), np.zeros((count, m))
    a = -0.75 if centres == "opencv" else -0.5
    for k in range(-1, 3) if method == "cubic" else range(2):
        t = np.abs(place - low - k)
        near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
        share = np.where(t <= 1, near, far) if method == "cubic" else 1 - t
        np.add.at(out, (np.arange(count), np.clip(low + k, 0, m - 1)), share)
    return out


def fill(
    stack: np.ndarray, n: float, method: str = "linear", axis: int = 0, centres: str = "measured"
) -> np.ndarray:
    """The planes between sections, by interpolation along the depth.

    Args:
        stack: Sections, three axes.
        n, method, centres: As in :func:`weights`.
        axis: The depth.

    Returns:
        ``float32``, ``n`` times as many planes.

    Raises:
        ValueError: as in :func:`weights`, or for what is no stack.

    Example:
        >>> import numpy as np
        >>> from srlib.physics.sectioning import decimate, fill
        >>> volume = np.arange(12.0)[:, None, None] + np.zeros((12, 2, 2))
        >>> fill(decimate(volume, 4), 4)[:, 0, 0].tolist()  # the ends are held
        [2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 10.0]
    """
    check_stack(stack, n, axis, whole=False)
    shares = weights(stack.shape[axis], n, method, centres).astype(np.float32)
    moved = np.moveaxis(stack, axis, 0).astype(np.float32)
    found = (shares @ moved.reshape(len(moved), -1)).reshape(-1, *moved.shape[1:])
    return np.moveaxis(found, 0, axis)


def stretched(image: np.ndarray, rows: int, stretch: float, first: float = 0.0) -> np.ndarray:
    """Rows of an image at the distance ``1 / stretch``, by a cubic spline through its own.

    Args:
        image: ``(H, W)``.
        rows: How many, from ``first`` on.
    """
    place = first + np.arange(rows) / stretch
    spline = CubicSpline(np.arange(len(image)), np.eye(len(image)))
    return spline(place).astype(np.float32) @ image.astype(np.float32)


def starts(length: int, tile: int, drop: int) -> list[int]:
    """Where tiles begin of which ``drop`` pixels are left out at each side but at the borders.

    FIB-SEM, Methods: 650 pixels make 12 tiles of 56 at a drop of 1, and 848 make 23 at one of 10.
    The last tile ends at the border, and overlaps more where that is needed.

    Raises:
        ValueError: if the tile is larger than the length, or nothing is left of it.
    """
    step = tile - 2 * drop
    if tile > length or drop < 0 or step < 1:
        raise ValueError(
            f"tiles of {tile} pixels less {drop} at each side do not fit into {length}: take "
            "smaller tiles or a smaller drop"
        )
    return [min(step * k, length - tile) for k in range(-(-(length - tile) // step) + 1)]


def stitch_tiles(
    restore: Callable[[np.ndarray], np.ndarray],
    plane: np.ndarray,
    n: int,
    tile: tuple[int, int],
    drop: tuple[int, int],
) -> np.ndarray:
    """A plane restored tile by tile and put together, as in the paper.

    Args:
        restore: From sections ``(m, W)`` to planes ``(m * n, W)``.
        plane: Sections ``(m, W)``.
        n: Planes to each section.
        tile: Sections, and pixels along them, of a tile.
        drop: What is left out at each side of a tile: sections, pixels.

    Returns:
        ``(m * n, W)`` float32.
    """
    out = np.empty((plane.shape[0] * n, plane.shape[1]), np.float32)
    corners = product(*map(starts, plane.shape, tile, drop))
    for top, left in corners:
        found = restore(plane[top : top + tile[0], left : left + tile[1]])
        a, b = drop[0] if top else 0, drop[1] if left else 0
        out[(top + a) * n : (top + tile[0]) * n, left + b : left + tile[1]] = found[a * n :, b:]
    return out
