"""Registration: where every voxel of a sharp volume lies in a blurred one of the same object.

Volumes are ``(D, H, W)``. A displacement ``u`` is ``(3, D, H, W)`` float32 in voxels, components in
the order z, y, x, with the meaning ``warped(p) = moving(p + u(p))``. Both volumes are band-passed
first: noise and rings go at the fine end, the slow drift of brightness at the coarse one.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, map_coordinates, shift, spline_filter
from tqdm.std import tqdm

from srlib.data.fill import fill_mask, find_fill
from srlib.data.sections import FAINT, reader

BAND = 3.0, 12.0  # sigmas in voxels: finer and coarser structure than this is left out
STEP = 2  # the band-passed volumes are compared on every second voxel
GRID = (slice(None, None, STEP),) * 3
LARGEST = 1024  # pixels an edge of sections that are aligned
EDGE = 12  # voxels of padding after which a cubic spline has forgotten its border


def _check(mask: np.ndarray | None = None, **arrays: np.ndarray) -> None:
    """Volumes, or displacements of volumes, that do not fit together raise a ValueError."""
    shape = next(iter(arrays.values())).shape[-3:]
    for name, array in arrays.items():
        want = shape if name in ("moving", "fixed", "volume") else (3, *shape)
        if len(shape) != 3 or min(shape) < 16:
            raise ValueError(f"{name} is {array.shape}: 3 axes of 16 voxels or more are needed.")
        if array.shape != want:
            raise ValueError(f"{name} is {array.shape}, but it should be {want}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} should hold finite numbers only.")
    if mask is not None and (mask.shape != shape or mask.dtype != bool or not mask.any()):
        raise ValueError(f"mask should be boolean, {shape} in shape and true somewhere.")


def _band(volume: np.ndarray, mask: np.ndarray | None) -> Any:
    """Image of the band on every ``STEP``-th voxel, sd 1; 0 outside the mask."""
    import SimpleITK as sitk

    def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
        image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(values), sigma)
        return sitk.GetArrayFromImage(image)

    weight = np.ones(volume.shape, np.float32) if mask is None else mask.astype(np.float32)
    values = (volume - volume[weight > 0].mean(dtype=float)).astype(np.float32) * weight
    inside = weight[GRID]
    band, coarse = smooth(values, BAND[0])[GRID], smooth(values[GRID], BAND[1] / STEP)
    if mask is not None:
        band /= np.maximum(smooth(weight, BAND[0])[GRID], 1e-3)
        coarse /= np.maximum(smooth(inside, BAND[1] / STEP), 1e-3)
    band = (band - coarse) * inside
    image = sitk.GetImageFromArray(band / max(float(band[inside > 0].std()), 1e-12))
    image.SetSpacing((float(STEP),) * 3)
    return image


def rigid(moving: np.ndarray, fixed: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Rotation and shift of highest correlation, as a displacement (IN-07).

    Only voxels of the boolean ``mask`` count. ValueError if a shape or a number does not fit.
    """
    import SimpleITK as sitk

    _check(mask, moving=moving, fixed=fixed)
    image, target = _band(moving, mask), _band(fixed, mask)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    if mask is not None:
        where = sitk.GetImageFromArray(mask[GRID].astype(np.uint8))
        where.CopyInformation(target)
        method.SetMetricFixedMask(where)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel([1.0, 0.5], 1)  # with the seed 1
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.002, 100, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([STEP, 0])
    start = sitk.Euler3DTransform()
    start.SetCenter([(n - 1) / 2 for n in fixed.shape[::-1]])
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(target, image)
    turn = np.reshape(start.GetMatrix(), (3, 3))[::-1, ::-1] - np.eye(3)  # x, y, z to z, y, x
    offset = start.GetTranslation()[::-1] - turn @ start.GetCenter()[::-1]
    z, y, x = np.ogrid[tuple(map(slice, fixed.shape))]
    field = np.empty((3, *fixed.shape), np.float32)
    for row, (a, b, c), d in zip(field, turn, offset, strict=True):
        row[:] = a * z + (b * y + c * x + d)
    return field


def demons(
    moving: np.ndarray,
    fixed: np.ndarray,
    start: np.ndarray | None = None,
    smooth: float = 12.0,
    iterations: int = 60,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Smooth non-rigid displacement on top of ``start``, by fast symmetric forces demons.

    The result is ``start`` (zero if not given) and what the demons add, composed. ``smooth``: sigma
    in voxels that every iteration smooths the displacement with. ValueError as in :func:`rigid`.
    """
    import SimpleITK as sitk

    if smooth <= 0:
        raise ValueError(f"smooth is {smooth}, but it should be positive.")
    start = np.zeros((3, *fixed.shape), np.float32) if start is None else start
    _check(mask, fixed=fixed, moving=moving, start=start)
    image, target = _band(apply(moving, start, 1), mask), _band(fixed, mask)
    method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    method.SetNumberOfIterations(iterations)
    method.SetStandardDeviations(smooth / STEP)  # of the displacement
    method.SetMaximumKernelWidth(int(6 * smooth / STEP) + 3)
    coarse = sitk.GetArrayFromImage(method.Execute(target, image)).T[::-1].swapaxes(1, 3)
    field = np.empty(start.shape, np.float32)
    y, x = np.ogrid[tuple(map(slice, fixed.shape[1:]))]
    for z in range(len(fixed)):
        half = np.broadcast_arrays(z / STEP, y / STEP, x / STEP)
        more = np.stack([map_coordinates(c, half, order=1, mode="nearest") for c in coarse])
        where = [p + m for p, m in zip((z, y, x), more, strict=True)]
        for row, c, m in zip(field, start, more, strict=True):
            row[z] = m + map_coordinates(c, where, order=1, mode="nearest")
    return field


def shifted(
    moving: np.ndarray,
    fixed: np.ndarray,
    start: np.ndarray,
    mask: np.ndarray | None = None,
    soften: float = 0.0,
    wide: float = 20.0,
) -> np.ndarray:
    """``start`` plus the one shift that correlates both volumes best, found to 0.02 voxels.

    Structure wider than ``wide`` is left out, and ``fixed`` is blurred by ``soften`` first: if both
    are as blurred, the maximum is where it belongs.
    """
    from skimage.registration import phase_cross_correlation

    _check(mask, moving=moving, fixed=fixed, start=start)
    window = np.ones((1, *fixed.shape[1:]), np.float32)
    if mask is not None:
        window = (mask if mask.strides[0] else mask[:1]).astype(np.float32)
    window = gaussian_filter(window, (0, 6, 6))
    target, field = _without_wide(fixed, wide, soften) * window, start.copy()
    for _ in range(2):
        seen = _without_wide(apply(moving, field, 1), wide) * window
        how = dict(upsample_factor=50, normalization=None)
        step = phase_cross_correlation(target, seen, **how)[0]
        field -= np.asarray(step, np.float32)[:, None, None, None]
    return field


def _without_wide(volume: np.ndarray, wide: float, soften: float = 0.0) -> np.ndarray:
    """A volume blurred by ``soften``, less the same blurred by ``wide`` as well.

    As two calls of :func:`scipy.ndimage.gaussian_filter`: reflected at its border, a volume is
    blurred by a product of cosine transforms, which takes a tenth of the time.
    """
    keep, drop = np.ones(1), np.ones(1)
    for axis, n in enumerate(volume.shape):
        shape = [-1 if k == axis else 1 for k in range(3)]
        for sigma in (soften, wide):
            far = np.arange(1, int(4 * sigma + 0.5) + 1)
            weights = np.exp(-0.5 * (far / max(sigma, 1e-9)) ** 2)
            waves = np.cos(np.pi * np.arange(n)[:, None] * far / n)
            passed = (1 + 2 * waves @ weights) / (1 + 2 * weights.sum())
            if sigma == soften:
                keep = keep * passed.reshape(shape)
            else:
                drop = drop * passed.reshape(shape)
    return idctn(dctn(volume.astype(np.float32)) * (keep * (1 - drop)).astype(np.float32))


def register(
    moving: np.ndarray,
    fixed: np.ndarray,
    mask: np.ndarray | None = None,
    smooth: float = 0.0,
    iterations: int = 60,
    soften: float = 0.0,
    progress: bool = True,
) -> np.ndarray:
    """:func:`rigid`, :func:`shifted`, then :func:`demons` if ``smooth`` is positive (IN-07, IN-08).

    On blurred, noisy volumes the demons can do harm, so they are off by default.
    """
    field = np.empty(0, np.float32)
    stages = ["rigid", "shift"] + ["demons"] * (smooth > 0)
    for stage in tqdm(stages, "registering", disable=not progress):
        if stage == "rigid":
            field = rigid(moving, fixed, mask)
        elif stage == "shift":
            field = shifted(moving, fixed, field, mask, soften)
        else:
            field = demons(moving, fixed, field, smooth, iterations, mask)
    return field


def apply(volume: np.ndarray, displacement: np.ndarray, order: int = 3) -> np.ndarray:
    """``volume(p + u(p))`` as float32, by splines of ``order``; the border goes on outside."""
    _check(volume=volume, displacement=displacement)
    if order not in (1, 3):
        raise ValueError(f"order is {order}, but it should be 1 or 3.")
    values = np.pad(volume.astype(np.float32), EDGE, mode="edge")
    if order > 1:
        values = spline_filter(values, order, np.float32, mode="nearest")
    return _sampled(values, np.asarray(displacement), order, EDGE)


@njit(nogil=True, fastmath=True, cache=True)
def _sampled(values: np.ndarray, displacement: np.ndarray, order: int, edge: int) -> np.ndarray:
    """A padded volume of spline coefficients at displaced places, as map_coordinates finds it."""
    _, deep, high, wide = displacement.shape
    out = np.empty((deep, high, wide), np.float32)
    last = np.array(values.shape) - 1
    taps, weights = np.empty((3, 4), np.int64), np.empty((3, 4))
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                for axis, p in enumerate((z, y, x)):
                    place = p + np.float64(displacement[axis, z, y, x]) + edge
                    place = min(max(place, 0.0), float(last[axis]))
                    low = int(place)
                    t = place - low
                    if order == 1:
                        weights[axis, 0], weights[axis, 1] = 1 - t, t
                    else:
                        weights[axis, 0] = (1 - t) ** 3 / 6
                        weights[axis, 1] = (4 - 6 * t**2 + 3 * t**3) / 6
                        weights[axis, 3] = t**3 / 6
                        weights[axis, 2] = (
                            1 - weights[axis, 0] - weights[axis, 1] - weights[axis, 3]
                        )
                    for k in range(order + 1):
                        tap = low + k - (order > 1)
                        taps[axis, k] = min(max(tap, 0), last[axis])
                total = 0.0
                for i in range(order + 1):
                    for j in range(order + 1):
                        row = 0.0
                        for k in range(order + 1):
                            row += weights[2, k] * values[taps[0, i], taps[1, j], taps[2, k]]
                        total += weights[0, i] * weights[1, j] * row
                out[z, y, x] = total
    return out


def residual(found: np.ndarray, true: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Median length in voxels of the difference of two displacements."""
    _check(mask, found=found, true=true)
    length = np.linalg.norm(found - true, axis=0)
    return float(np.median(length if mask is None else length[mask]))


def strain(displacement: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Growth in the plane that a displacement takes up: mean slope of u_y over y and u_x over x.

    Report it beside a registration of time steps (IN-08): growth must not be registered away.
    """
    _check(mask, displacement=displacement)
    inside = np.ones(displacement.shape[1:], bool) if mask is None else mask
    places = [p - p.mean() for p in np.nonzero(inside)[1:]]
    slopes = [p @ u[inside] / (p @ p) for p, u in zip(places, displacement[1:], strict=True)]
    return float(np.mean(slopes))


@dataclass(frozen=True)
class Slips:
    """How far sections have slipped, and what of it is to be believed.

    Attributes:
        slips: ``(D, 2)`` pixels along y and x, mean 0.
        bridged: Sections that show nothing, or are like neither neighbour: what is between their
            neighbours' slips stands for theirs.
        unsure: Sections whose step from the one before is taken as 0: no shift makes them alike.
        far: Sections whose step from the one before is at the end of the search, or beyond.
        fixed: Whether a pattern that stays in the frame, such as stripes, was subtracted.
    """

    slips: np.ndarray
    bridged: tuple[int, ...] = ()
    unsure: tuple[int, ...] = ()
    far: tuple[int, ...] = ()
    fixed: bool = False

    def sentences(self) -> list[str]:
        """What was found; sections are counted from 0."""
        found = []
        for name, words in (
            ("bridged", "show nothing that their neighbours show: their slips are interpolated"),
            ("unsure", "are not alike the one before at any shift: their steps are unknown"),
            ("far", "have slipped as far as was searched, or farther: search farther"),
        ):
            numbers = getattr(self, name)
            if numbers:
                found.append(f"sections {', '.join(map(str, numbers))} {words}")
        if self.fixed:
            found.append("a pattern fixed in the frame was subtracted to see the slips")
        return found


PEAK = 4.0  # sds of a cross-correlation that its maximum should stand above its mean
FIXED = 0.15  # correlation of sections half a stack apart: more is no material


def align_sections(stack: np.ndarray, most: int = 8, progress: bool = False) -> np.ndarray:
    """How far each section of a stack has slipped sideways, from the one before it (FS-09).

    The shift of highest correlation of each section and the one before it; the slips are their sum.
    What all have in common cannot be seen, so their mean is 0. A drift that is the material's own
    looks the same, and errors add up: align a stack before sections are left out, if there is a
    choice, because neighbours that are as far apart as particles are wide have little in common.

    Args:
        stack: Sections ``(D, H, W)``, grey.
        most: Pixels that a section can have slipped against the one before, at most.

    Returns:
        ``(D, 2)`` pixels along y and x; :func:`apply_shifts` takes them back. A warning says what
        of it is not to be believed; :func:`find_slips` leaves that out, and gives it as numbers.

    Raises:
        ValueError: if this is no stack of grey values, or its sections are too small.
    """
    _check_sections(stack)
    found = find_slips(stack, most, guess=True, progress=progress)
    for sentence in found.sentences():
        warnings.warn(sentence, stacklevel=2)
    return found.slips


def find_slips(
    stack: np.ndarray,
    most: int = 8,
    axis: int = 0,
    fill: tuple[float, ...] | None = None,
    guess: bool = False,
    progress: bool = False,
) -> Slips:
    """The slips of :func:`align_sections`, each with whether it is to be believed.

    Only pixels count that were measured in all sections, at most 1024 an edge. Where a section is
    blank, or is like the one before at no shift, the next one is compared with the last good one.

    Args:
        stack: Sections, three axes, grey; read one by one.
        most: Pixels that a section can have slipped against the one before, at most.
        axis: The depth.
        fill: Values of pixels that were not measured; None for those of
            :func:`srlib.data.fill.find_fill`.
        guess: Take the likeliest step also where it is not to be believed, instead of 0.
        progress: Show a bar.

    Raises:
        ValueError: if sections are too small for the search, or all of them blank.
    """
    read, fill = reader(stack, axis), find_fill(stack, axis) if fill is None else fill
    count = stack.shape[axis]
    window = _common(read, count, fill)
    size = [part.stop - part.start for part in window]
    if not 1 <= most < min(size) // 2 - 1:
        raise ValueError(f"most is {most}, but it should be from 1 to under half a section.")
    mean, share = _fixed(read, count, window)
    fixed = share >= FIXED and count >= 12
    base = mean if fixed else np.float32(0)
    place = np.full((count, 2), np.nan)
    bridged: list[int] = []
    unsure: list[int] = []
    far: list[int] = []
    good: list[tuple[int, np.ndarray]] = []  # the last two sections that count
    contrast = [float(read(k)[window].std()) for k in range(count)]
    for k in tqdm(range(count), "aligning", disable=not progress):
        section = read(k)[window]
        if contrast[k] < FAINT * np.median(contrast):
            bridged.append(k)
            continue
        now = np.fft.rfft2(section - section.mean(dtype=np.float32) - base)
        steps = [_step(b, now, size, min(int(most) * (k - j), min(size) // 2 - 2)) for j, b in good]
        if not good:
            place[k] = 0
        elif steps[-1][1] == "":
            place[k] = place[good[-1][0]] + steps[-1][0]
        elif not guess and len(good) > 1 and good[-1][0] in unsure + far and steps[0][1] == "":
            odd = good.pop()[0]  # it is like neither
            (unsure if odd in unsure else far).remove(odd)
            bridged.append(odd)
            place[odd], place[k] = np.nan, place[good[-1][0]] + steps[0][0]
        else:
            (far if steps[-1][1] == "far" else unsure).append(k)
            place[k] = place[good[-1][0]] + (steps[-1][0] if guess else 0)
        good = [*good, (k, now)][-2:]
    known = np.flatnonzero(np.isfinite(place[:, 0]))
    if not len(known):
        raise ValueError("every section of the stack is blank")
    slips = np.stack([np.interp(np.arange(count), known, place[known, c]) for c in (0, 1)], 1)
    found = [tuple(sorted(numbers)) for numbers in (bridged, unsure, far)]
    return Slips(slips - slips.mean(0), found[0], found[1], found[2], bool(fixed))


def _common(
    read: Callable[[int], np.ndarray], count: int, fill: tuple[float, ...]
) -> tuple[slice, slice]:
    """The largest rectangle around the middle in which all sections were measured."""
    measured = None
    for k in range(count):
        section = read(k)
        if section.min() == section.max():  # a blank one
            continue
        mask = fill_mask(section, fill)
        measured = ~mask if measured is None else measured & ~mask
    if measured is None:
        raise ValueError("every section of the stack is blank")
    low, high = [0, 0], list(measured.shape)
    while not measured[low[0] : high[0], low[1] : high[1]].all() and min(high) > max(low):
        part = measured[low[0] : high[0], low[1] : high[1]]
        sides = {(0, 0): part[0], (0, 1): part[-1], (1, 0): part[:, 0], (1, 1): part[:, -1]}
        axis, end = max(sides, key=lambda side: (~sides[side]).mean())
        if end:
            high[axis] -= 1
        else:
            low[axis] += 1
    for axis in (0, 1):
        more = max(0, high[axis] - low[axis] - LARGEST)
        low[axis], high[axis] = low[axis] + more // 2, high[axis] - (more - more // 2)
    return slice(low[0], high[0]), slice(low[1], high[1])


def _fixed(
    read: Callable[[int], np.ndarray], count: int, window: tuple[slice, slice]
) -> tuple[np.ndarray, float]:
    """The mean of all sections, and how alike sections are that are half a stack apart."""

    def scaled(k: int) -> np.ndarray:
        section = read(k)[window].astype(np.float32)
        return (section - section.mean()) / max(float(section.std()), 1e-9)

    half = count // 2
    pairs = np.unique(np.linspace(0, count - half - 1, 32).astype(int))
    alike = float(np.median([(scaled(k) * scaled(k + half)).mean() for k in pairs]))
    if alike < FIXED:
        return np.zeros((), np.float32), alike
    total: Any = 0.0
    for k in range(count):
        section = read(k)[window].astype(np.float32)
        total = total + section - section.mean()
    return total / np.float32(count), alike


def _step(
    before: np.ndarray, now: np.ndarray, size: list[int], most: int
) -> tuple[np.ndarray, str]:
    """The shift of a section against another, and why not to believe it: "", "flat" or "far"."""
    alike = np.fft.irfft2(before.conj() * now, size)
    step = _peak(alike, most)
    height = (alike[tuple(np.rint(step).astype(int))] - alike.mean()) / max(alike.std(), 1e-12)
    if height < PEAK:
        return step, "flat"
    return step, "far" if np.abs(np.rint(step)).max() >= most else ""


def _peak(alike: np.ndarray, most: int) -> np.ndarray:
    """Where a cross-correlation has its maximum, not farther than ``most``, by two parabolas."""
    near = np.roll(alike, (most + 1, most + 1), (0, 1))[: 2 * most + 3, : 2 * most + 3]
    inner = near[1:-1, 1:-1]
    y, x = np.add(np.unravel_index(inner.argmax(), inner.shape), 1)
    place = []
    for low, top, high in (near[y - 1 : y + 2, x], near[y, x - 1 : x + 2]):
        bend = low - 2 * top + high
        place.append(np.clip(0.5 * (low - high) / bend, -0.5, 0.5) if bend < 0 else 0.0)
    return np.array([y, x]) - most - 1 + place


def apply_shifts(stack: np.ndarray, slips: np.ndarray) -> np.ndarray:
    """A stack with its slips taken back, by cubic splines; the border goes on. float32."""
    _check_sections(stack)
    if slips.shape != (len(stack), 2):
        raise ValueError(f"slips are {slips.shape}, but they should be {(len(stack), 2)}.")
    pairs = zip(stack, slips, strict=True)
    return np.stack([shift(s.astype(np.float32), -by, order=3, mode="nearest") for s, by in pairs])


def _check_sections(stack: np.ndarray) -> None:
    if stack.ndim != 3 or len(stack) < 2:
        raise ValueError(f"a stack is (D, H, W) of numbers, 2 or more, not {stack.shape}.")
