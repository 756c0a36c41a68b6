"""Pairs for training from two scans of one region, at two qualities and often two voxel sizes.

The poor scan (LOW) is found in the good one (HIGH), brought to its grid, registered and scaled.
:func:`from_scans` does it all; a chapter that does a step itself uses :func:`align` for the rest.
Volumes are ``(D, H, W)``; fine voxel i lies at ``(i + 0.5) / factor - 0.5`` of the coarse grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

from srlib.data import registration
from srlib.data.fill import fill_mask, find_fill
from srlib.data.normalization import PAD, limits, scaled, upscaled
from srlib.data.planes import middle

MOST = 2**23  # voxels of HIGH to learn from
REGISTERED = 2**22  # voxels of HIGH that are registered
LEAST = 48  # voxels of HIGH along two axes, so that there is something to learn and to judge
ALIKE = 0.5  # lowest correlation of two scans of one region; see tests/test_restore_command.py
FIND = 2**19  # coarse voxels in which a region is looked for at once
TOLERANCE = 0.01  # of a ratio of voxel sizes, before HIGH is resampled


@dataclass(eq=False)
class Pair:
    """Two scans on one grid, grey values in [-1, 1].

    Attributes:
        lq: The poor scan, registered, ``(D, H, W)`` float32.
        hq: The good scan.
        mask: Where both show the sample; bool, a shape that broadcasts to ``lq``.
        limits: Grey values of the poor scan that became -1 and 1; use them for later scans.
        hq_limits: The same of the good scan.
        displacement: What the registration found, see :mod:`srlib.data.registration`.
    """

    lq: np.ndarray
    hq: np.ndarray
    mask: np.ndarray
    limits: tuple[float, float]
    hq_limits: tuple[float, float]
    displacement: np.ndarray


def align(
    low: np.ndarray,
    high: np.ndarray,
    mask: np.ndarray,
    bounds: tuple[tuple[float, float], tuple[float, float]] | None = None,
    find: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] = registration.register,
) -> Pair:
    """Register a poor scan to a good one on the same grid, and scale both to [-1, 1].

    Args:
        low: The poor scan on the grid of the good one (:func:`srlib.data.normalization.upscaled`).
        high: The good scan, of the same shape.
        mask: Where both show the sample, bool, ``(D, H, W)`` or ``(H, W)``; limits are taken there.
        bounds: Limits of both; None for percentiles 0.5 and 99.5.
        find: Displacement of ``low`` from both scans, scaled, and the mask.

    Example:
        >>> import numpy as np
        >>> from srlib.data.pairs import align
        >>> from scipy.ndimage import gaussian_filter, shift
        >>> sharp = gaussian_filter(np.random.default_rng(0).normal(size=(48, 48, 48)), 2.5)
        >>> moved = shift(sharp, (1.5, 0, -1), mode="nearest")
        >>> pair = align(5 * moved + 100, sharp, np.ones(sharp.shape, bool))
        >>> [round(float(np.median(u)), 1) for u in pair.displacement]
        [1.5, 0.0, -1.0]
    """
    mask = np.asarray(mask, bool)
    low_bounds, high_bounds = bounds or (limits(low, mask), limits(high, mask))
    high = scaled(high, high_bounds)
    everywhere = np.broadcast_to(mask, high.shape)
    field = find(scaled(low, low_bounds), high, everywhere)
    low = scaled(registration.apply(low, field) if field.any() else low, low_bounds)
    return Pair(low, high, mask, low_bounds, high_bounds, field)


def factors(
    low_size: tuple | None,
    high_size: tuple | None,
    low_shape: tuple[int, ...],
    high_shape: tuple[int, ...],
    factor: int | None,
) -> tuple[tuple[int, ...], str]:
    """How many fine voxels make a coarse one along each axis, and where that was read.

    Args:
        low_size, high_size: Voxel sizes (z, y, x), None or of None where unknown.
        low_shape, high_shape: In voxels; asked if there are no sizes and no factor.
        factor: What the caller says.

    Raises:
        ValueError: if it is not known, or the sizes contradict what the caller says.
    """
    if factor is not None and factor < 1:
        raise ValueError(f"--factor {factor} should be 1 or more, voxels of HIGH along one of LOW")
    if low_size and high_size and all(low_size) and all(high_size):
        ratios = [a / b for a, b in zip(low_size, high_size, strict=True)]
        words = " x ".join(f"{r:.3g}" for r in ratios)
        if min(ratios) < 0.8:
            raise ValueError(
                f"voxels of LOW are {words} times those of HIGH: give the coarse scan first, "
                "or correct the voxel sizes"
            )
        whole = tuple(max(1, round(r)) for r in ratios)
        if factor is not None and whole != (factor,) * 3:
            raise ValueError(
                f"--factor {factor} contradicts the voxel sizes, whose ratio is {words}: leave it "
                "out, or correct the sizes in the files"
            )
        return whole, "from the voxel sizes"
    if factor is not None:
        return (factor,) * 3, "as given"
    ratios = {b / a for a, b in zip(low_shape, high_shape, strict=True)}
    if len(ratios) == 1 and (ratio := ratios.pop()) >= 1 and ratio == int(ratio):
        return (int(ratio),) * 3, "from the shapes, as no voxel sizes are stated"
    raise ValueError(
        "the files do not state both voxel sizes, and the shapes "
        f"{tuple(low_shape)} and {tuple(high_shape)} have no whole ratio: say with --factor how "
        "many voxels of HIGH lie along one of LOW"
    )


def from_scans(
    low: Any,
    high: Any,
    factor: int | tuple[int, ...],
    ratio: tuple[float, ...] | None = None,
    fills: tuple[tuple, tuple] | None = None,
    placement: dict | None = None,
    progress: bool = False,
) -> tuple[Pair, dict]:
    """The pair of two scans of one region: found, on one grid, registered, scaled, masked.

    HIGH may show a part of what LOW shows, anywhere in it, and turned by a few degrees. Of a large
    one the middle is taken, so that memory does not grow with the files.

    Args:
        low, high: Grey volumes, arrays or files; windows of them are read.
        factor: Fine voxels along a coarse one, whole numbers.
        ratio: Of the voxel sizes, if it is not quite ``factor``: HIGH is resampled.
        fills: Fill values of both; None to look for them.
        placement: What an earlier call with these scans has found; None to look for it.
        progress: Show a bar.

    Returns:
        The pair, and what is worth knowing: ``correlation``, ``shift`` in voxels of HIGH,
        ``high_part`` (slices of HIGH that were used), ``fills`` and ``placement``.

    Raises:
        ValueError: one sentence, if the scans do not show the same region, are too small, or one
            is the negative of the other.
    """
    factor = (factor,) * 3 if isinstance(factor, int) else tuple(factor)
    fills = (find_fill(low), find_fill(high)) if fills is None else fills
    part = _middle(high.shape, factor)
    fine = np.asarray(high[part])
    seen = measured(fine, fills[1])
    if seen.mean() < 0.2:
        raise ValueError(f"{1 - seen.mean():.0%} of the middle of HIGH is empty: cut it first")
    fine = _filled(fine, seen)
    if ratio and any(abs(r / f - 1) > TOLERANCE for r, f in zip(ratio, factor, strict=True)):
        by = [f / r for r, f in zip(ratio, factor, strict=True)]
        fine = zoom(fine, by, order=3, mode="nearest", grid_mode=True)
        seen = zoom(seen.astype("u1"), by, order=0, mode="nearest", grid_mode=True) > 0
    cut = tuple(slice(n // f * f) for n, f in zip(fine.shape, factor, strict=True))
    fine, seen = fine[cut], seen[cut]
    if sorted(fine.shape)[1] < LEAST or min(fine.shape) < 16:
        raise ValueError(
            f"HIGH has {' x '.join(map(str, fine.shape))} voxels on the grid of LOW: {LEAST} along "
            "two axes and 16 along the third are needed to learn from and to judge"
        )
    if float(np.ptp(fine[seen])) == 0:
        raise ValueError("HIGH has one grey value only: there is nothing to learn from")
    soften = max(factor) / 2
    corner = placement["corner"] if placement else _locate(low, _binned(fine, factor), fills[0])
    moving, inside = _window(low, corner, fine.shape, factor, fills[0])
    mask = seen & inside
    if mask.mean() < 0.2:
        raise _differ(0.0)
    rows = placement["rows"] if placement else None

    def find(moving: np.ndarray, fixed: np.ndarray, where: np.ndarray) -> np.ndarray:
        nonlocal rows
        rows = rows or _rigid_from_middle(moving, fixed, where, soften, progress)
        return _linear(rows, fixed.shape)

    pair = align(moving, fine, mask, find=find)
    pair.mask &= registration.apply(inside.astype(np.float32), pair.displacement, 1) > 0.99
    pair.mask &= _reaches(pair.displacement)
    found = _correlation(pair, soften) if pair.mask.mean() > 0.1 else 0.0
    if found < ALIKE:
        raise _differ(found)
    moved = [float(np.median(u[pair.mask])) for u in pair.displacement]
    start = [s.start for s in part]
    shift = [c * f + m - s for c, f, m, s in zip(corner, factor, moved, start, strict=True)]
    about = {"correlation": found, "shift": shift, "high_part": part, "fills": fills}
    return pair, about | {"placement": {"corner": corner, "rows": rows}}


def _rigid_from_middle(
    moving: np.ndarray, fixed: np.ndarray, mask: np.ndarray, soften: float, progress: bool
) -> list[list[float]]:
    """Rotation and shift of the middle: for each component its value at voxel 0 and its slopes."""
    part = middle(fixed.shape, REGISTERED)
    if not mask[part].any():
        raise _differ(0.0)
    how: dict[str, Any] = dict(soften=soften, progress=progress)
    field = registration.register(moving[part], fixed[part], mask[part], **how).astype(float)
    deep, high, wide = (n - 1 for n in field.shape[1:])
    rows = []
    for u in field:  # linear, as there is nothing but rotation and shift
        first = u[0, 0, 0]
        slopes = [(u[-1, 0, 0] - first) / deep, (u[0, -1, 0] - first) / high]
        slopes.append((u[0, 0, -1] - first) / wide)
        rows.append([float(first - np.dot(slopes, [p.start for p in part])), *map(float, slopes)])
    return rows


def _linear(rows: list[list[float]], shape: tuple[int, ...]) -> np.ndarray:
    """Displacement of a rotation and a shift."""
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    field = np.empty((3, *shape), np.float32)
    for u, (first, dz, dy, dx) in zip(field, rows, strict=True):
        u[:] = first + dz * z + (dy * y + dx * x)
    return field


def _differ(correlation: float) -> ValueError:
    return ValueError(
        f"the two scans do not show the same region (correlation {correlation:.2f} at the best "
        f"place, {ALIKE} is needed): check the files, the voxel sizes, and that no axis is "
        "swapped or mirrored"
    )


def _middle(shape: tuple[int, ...], factor: tuple[int, ...]) -> tuple[slice, ...]:
    """The middle of a volume, at most :data:`MOST` voxels, starting at a whole coarse voxel."""
    parts = zip(middle(shape, MOST), factor, strict=True)
    return tuple(slice(p.start - p.start % f, p.stop - p.start % f) for p, f in parts)


def measured(volume: np.ndarray, fill: tuple[float, ...]) -> np.ndarray:
    """Where planes hold neither fill values nor NaN."""
    return ~np.stack([fill_mask(plane, fill) for plane in volume])


def _filled(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """float32, with the median of the sample where nothing was measured."""
    values = values.astype(np.float32)
    if not seen.all():
        values[~seen] = np.median(values[seen]) if seen.any() else 0
    return values


def _binned(volume: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Means of blocks; what does not fill a block is left out."""
    for axis, f in enumerate(factor):
        n = volume.shape[axis] // f
        part = volume.take(np.arange(n * f), axis) if volume.shape[axis] % f else volume
        shape = (*part.shape[:axis], n, f, *part.shape[axis + 1 :])
        volume = part.reshape(shape).mean(axis + 1, dtype=np.float32)
    return volume


def _locate(low: Any, template: np.ndarray, fill: tuple) -> list[int]:
    """Voxel of LOW where a part of it, on its grid, begins.

    First on means of blocks, then around that place on all voxels.
    """
    blocks = 1
    while prod(n // blocks for n in low.shape) > FIND and min(template.shape) // blocks >= 8:
        blocks += 1
    corner, best = _best_place(
        _read_binned(low, (0, 0, 0), low.shape, blocks, fill), _binned(template, (blocks,) * 3)
    )
    if blocks > 1:  # once more, with the middle of the template
        inner = [slice((n - min(n, 64)) // 2, (n + min(n, 64)) // 2) for n in template.shape]
        first = [blocks * c + s.start for c, s in zip(corner, inner, strict=True)]
        begin = [min(max(0, c - blocks - 1), n - 1) for c, n in zip(first, low.shape, strict=True)]
        far = zip(first, inner, begin, low.shape, strict=True)
        end = [max(b + 1, min(n, c + s.stop - s.start + blocks + 1)) for c, s, b, n in far]
        found, best = _best_place(_read_binned(low, begin, end, 1, fill), template[tuple(inner)])
        corner = [b + c - s.start for b, c, s in zip(begin, found, inner, strict=True)]
    if best < -ALIKE:
        raise ValueError(
            f"one scan is the negative of the other (correlation {best:.2f}): invert one of them"
        )
    return corner


def _read_binned(
    low: Any, begin: Sequence[int], end: Sequence[int], block: int, fill: tuple
) -> np.ndarray:
    """Means of blocks of a window of a file, plane by plane."""
    planes = []
    for z in range(begin[0], end[0] - block + 1, block):
        part = np.asarray(low[z : z + block, begin[1] : end[1], begin[2] : end[2]])
        planes.append(_binned(_filled(part, measured(part, fill)), (block,) * 3))
    return np.concatenate(planes)


def _best_place(volume: np.ndarray, template: np.ndarray) -> tuple[list[int], float]:
    """Where a template fits best in a volume, beyond its border too, by normalised correlation."""
    from skimage.feature import match_template

    margins = []
    for n, m in zip(volume.shape, template.shape, strict=True):
        margin = max(2, m // 8) + max(0, m - n)
        margins.append((margin, margin))
    around = np.pad(volume, margins, constant_values=float(volume.mean()))
    scores = match_template(around, template)
    place = np.unravel_index(np.abs(scores).argmax(), scores.shape)
    corner = [int(p) - m[0] for p, m in zip(place, margins, strict=True)]
    return corner, float(scores[place])


def _window(
    low: Any, corner: list[int], shape: tuple[int, ...], factor: tuple[int, ...], fill: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """A part of LOW on the fine grid, ``shape``, and where it was measured.

    Voxels next to a fill value are partly interpolated from it, so they do not count.
    """
    size = [n // f for n, f in zip(shape, factor, strict=True)]
    begin = [c - PAD for c in corner]
    end = [c + n + PAD for c, n in zip(corner, size, strict=True)]
    inner = [slice(max(0, a), max(0, b)) for a, b in zip(begin, end, strict=True)]
    part = np.asarray(low[tuple(inner)])
    if not part.size:
        raise _differ(0.0)
    there = measured(part, fill)
    sides = [
        (max(0, -a), b - a - max(0, -a) - n) for a, b, n in zip(begin, end, part.shape, strict=True)
    ]
    part = np.pad(_filled(part, there), sides, mode="edge")
    there = np.pad(there, sides)
    there = binary_erosion(there, np.ones((3, 3, 3)))
    cut = tuple(slice(PAD, PAD + n) for n in size)
    mask = there[cut]
    for axis, f in enumerate(factor):
        part = upscaled(part, tuple(f if a == axis else 1 for a in range(3)))
        keep = slice(PAD * f, (PAD + size[axis]) * f)
        part = part[(slice(None),) * axis + (keep,)]
        mask = mask.repeat(f, axis)
    return part, mask


def _reaches(field: np.ndarray) -> np.ndarray:
    """Where a displacement leads to a place inside of the volume."""
    found = np.ones(field.shape[1:], bool)
    for axis, (u, n) in enumerate(zip(field, field.shape[1:], strict=True)):
        place = u + np.arange(n, dtype=np.float32).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        found &= (place >= -0.5) & (place <= n - 0.5)
    return found


def _correlation(pair: Pair, soften: float) -> float:
    """Correlation of both scans inside of the mask, fine noise and slow drift left out."""
    sigma = max(1.0, soften)
    a, b = (gaussian_filter(v, sigma) - gaussian_filter(v, 12 * sigma) for v in (pair.lq, pair.hq))
    a, b = (v[pair.mask] for v in (a, b))
    step = -(-len(a) // FIND)
    return float(np.corrcoef(a[::step], b[::step])[0, 1])


def held_out(shape: tuple[int, ...], factor: int, share: float = 0.15) -> dict:
    """What to train on and what to judge with: the two ends of the longest axis, and a gap.

    The gap is as wide as eight coarse voxels, beyond what interpolation and blur mix.

    Returns:
        Tuples of slices ``"train"`` and ``"judge"``.

    Raises:
        ValueError: if the part to train on would be thinner than 32 voxels.
    """
    axis, length = int(np.argmax(shape)), max(shape)
    held, gap = max(16, round(share * length)), 8 * factor
    if length - held - gap < 32:
        raise ValueError(
            f"HIGH is {length} voxels long at most: {48 + gap} are needed, so that a part can be "
            "held out to judge"
        )
    ends = {"train": slice(0, length - held - gap), "judge": slice(length - held, length)}
    return {k: tuple(s if a == axis else slice(None) for a in range(3)) for k, s in ends.items()}
