"""Single sections of a stack: which are blank, there twice, or missing, and where all belong.

A section that is not what was cut there is left out, and its place is a gap. What is told from what
is measured on the stack itself: how alike a section is to the one next to it, and to the one after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from srlib.data.fill import fill_mask, replace_fill, sample_sections
from srlib.metrics.checks import MAX_PHASES

FAINT = 0.2  # of the usual contrast: less is a blank section
SAME = 0.1  # of the usual change to the next section: less is the same section once more
CLEAR = 4.0  # sds by which a correlation should fall from the next section to the one after
FAR = 4.0  # sds below the usual correlation, from which on sections are missing
LARGEST = 512  # pixels an edge that are looked at, in the middle


@dataclass(frozen=True)
class Layout:
    """The sections of a stack at even distances.

    Attributes:
        order: The number of the section at each place; None where there is a gap.
        blank: Sections left out because they show nothing.
        doubled: Sections left out because they show the one before once more.
        unlike: Sections that the next one is so unlike as if some were missing, and how many.
            Whether they are, only who cut them knows; so there is no gap for them.
    """

    order: tuple[int | None, ...]
    blank: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    unlike: tuple[tuple[int, int], ...] = ()

    @property
    def gaps(self) -> tuple[int, ...]:
        """Places without a section."""
        return tuple(place for place, number in enumerate(self.order) if number is None)

    def sentences(self) -> list[str]:
        """What was found; sections are counted from 0."""
        found = []
        if self.blank:
            found.append(f"section {_listed(self.blank)} blank: left out, restored as a gap")
        if self.doubled:
            found.append(f"section {_listed(self.doubled)} the one before once more: left out")
        for number, many in self.unlike:
            found.append(
                f"sections {number} and {number + 1} are so unlike as if {many} or more were "
                f"missing between them: if so, missing {number} restores a gap there"
            )
        return found


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def label_values(stack: np.ndarray, axis: int = 0) -> tuple[float, ...] | None:
    """The values of a stack of labels; None for one of grey values.

    Raises:
        ValueError: for labels of more objects than phases can be.
    """
    sections = sample_sections(stack, axis, 8)
    values = np.unique(np.stack(sections))
    values = values[np.isfinite(values)]
    if 1 < len(values) <= MAX_PHASES or stack.dtype == bool:
        every = (np.unique(reader(stack, axis)(k)) for k in range(stack.shape[axis]))
        return tuple(sorted({value for found in every for value in found.tolist()}))
    flat = np.mean([(np.diff(section, axis=1) == 0).mean() for section in sections])
    if len(values) > 1 and flat > 0.8 and len(values) < 0.05 * sum(s.size for s in sections):
        raise ValueError(
            f"the stack holds {len(values)} values in patches of one value each: these are labels "
            "of objects, not grey values; give its phases, such as stack > 0, and label the result"
        )
    return None


def check_grey(stack: np.ndarray, axis: int = 0) -> None:
    """Raise a ValueError if a stack holds labels: an average of two labels may be a third."""
    if values := label_values(stack, axis):
        shown = ", ".join(f"{value:g}" for value in values)
        raise ValueError(
            f"the stack holds the values {shown} only: these are labels, not grey values; restore "
            f"them with phases=({shown}) here and in srlib.training.Sections"
        )


def reader(stack: np.ndarray, axis: int = 0) -> Callable[[int], np.ndarray]:
    """A function that reads section ``k`` alone."""
    return lambda k: np.asarray(stack[(slice(None),) * axis + (int(k),)])


def check_sections(
    stack: np.ndarray,
    axis: int = 0,
    fill: tuple[float, ...] = (),
    missing: Sequence[int] = (),
    progress: bool = False,
) -> Layout:
    """Blank, doubled and missing sections of a stack.

    A missing section is seen only where the one after the next one is clearly less alike than the
    next one is: where sections are much farther apart than structures are wide, it cannot be.

    Args:
        stack: Sections, three axes, grey; read one by one.
        axis: The depth.
        fill: Values of pixels that were not measured.
        missing: Sections after which one is missing, as you know; twice for two.
        progress: Show a bar.

    Raises:
        ValueError: if every section is blank, or there is no section of a number.
    """
    from tqdm.std import tqdm

    if wrong := [k for k in missing if not 0 <= k < stack.shape[axis] - 1]:
        raise ValueError(
            f"after section {wrong[0]} none can be missing: sections are 0 to "
            f"{stack.shape[axis] - 1}"
        )
    read, count = reader(stack, axis), stack.shape[axis]
    contrast, alike = np.zeros(count), np.full((4, count), np.nan)
    before: list[np.ndarray] = []
    for k in tqdm(range(count), "looking at sections", disable=not progress):
        pattern, contrast[k] = _pattern(read(k), fill)
        for lag, other in enumerate(before[::-1]):
            alike[lag, k - lag - 1] = (pattern * other).mean()
        before = [*before, pattern][-4:]
    blank = np.flatnonzero(contrast <= FAINT * np.median(contrast)).tolist()
    if len(blank) == count:
        raise ValueError("every section of the stack is blank")
    for k in blank:
        for lag in range(4):
            alike[lag, [k, max(k - lag - 1, 0)]] = np.nan
    return _layout(count, blank, alike, missing)


def _pattern(section: np.ndarray, fill: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """The middle of a section binned by 2, mean 0 and sd 1; and the sd of it binned by 4."""
    middle = tuple(slice(max(0, (n - LARGEST) // 2), (n + LARGEST) // 2) for n in section.shape)
    section = section[middle]
    mask = fill_mask(section, fill)
    if mask.all():
        return np.zeros([n // 2 for n in section.shape], np.float32), 0.0
    grey = replace_fill(section, mask).astype(np.float32)
    small = _binned(grey, 2)
    small = small - small.mean()
    return small / max(float(small.std()), 1e-9), float(_binned(grey, 4).std())


def _binned(image: np.ndarray, by: int) -> np.ndarray:
    high, wide = (max(1, n // by) for n in image.shape)
    by = min(by, *image.shape)
    return image[: high * by, : wide * by].reshape(high, by, wide, by).mean((1, 3))


def _layout(count: int, blank: list[int], alike: np.ndarray, missing: Sequence[int] = ()) -> Layout:
    """From the correlations ``alike[lag - 1, k]`` of sections k and k + lag to what they mean."""
    order: list[int | None] = [0] if 0 not in blank else [None]
    usual = np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in alike])
    next_to = alike[0][np.isfinite(alike[0])]
    doubled, unlike = [], []
    spread = 1.4826 * np.median(np.abs(next_to - usual[0])) if len(next_to) else 0.0
    clear = len(next_to) >= 6 and usual[0] > 0.5 and usual[0] - usual[1] > CLEAR * spread
    for k in range(count - 1):
        value, after = alike[0, k], k + 1
        if after in blank:
            order.append(None)
            continue
        if 1 - value < SAME * (1 - usual[0]) or value > 1 - 1e-7:
            doubled.append(after)
            jump = alike[1, k]  # to the one that comes after the copy
            if not clear or not np.isfinite(jump) or 2 * jump < usual[0] + usual[1] - 1e-9:
                order.append(None)
            alike[:, after] = alike[:, k]  # what comes next is compared with the original
            alike[0, after] = np.nan
            continue
        if k in missing:
            order += [None] * list(missing).count(k)
        elif clear and value < usual[0] - max(FAR * spread, 0.7 * (usual[0] - usual[1])):
            around = alike[0, max(k - 1, 0) : k + 2 : 2]  # steps beside it, as usual
            across = [alike[1, k - 1] if k else np.nan, alike[1, k]]  # these span the same gap
            if not ((around < usual[0] - 3 * spread).any() or max(across) > usual[1:3].mean()):
                many = 1
                while many < 3 and usual[many] - usual[many + 1] > 2 * spread:
                    if value > (usual[many] + usual[many + 1]) / 2:
                        break
                    many += 1
                unlike.append((k, many))
        order.append(after)
    return Layout(tuple(order), tuple(blank), tuple(doubled), tuple(unlike))


def odd_steps(near: np.ndarray, far: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps from section to section that stand out from the ten around them.

    Args:
        near: ``(D - 1,)`` how unlike each section is to the next: a distance; NaN if not known.
        far: The usual distance to the section after the next.

    Returns:
        Where sections are nearer than others, where they are farther, both boolean, and by how many
        sds each is farther.
    """
    same = near < 1e-3
    padded = np.pad(np.where(same, np.nan, near), 5, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 11)
    usual = [np.nanmedian(w) if np.isfinite(w).any() else 1.0 for w in windows]
    ratio = np.log(np.maximum(near, 1e-3) / usual)
    rest = ratio[np.isfinite(ratio) & ~same]
    spread = max(1.4826 * float(np.median(np.abs(rest - np.median(rest)))), 0.02)
    two = 0.5 * np.log(max(far / np.nanmedian(near), 1.2))
    low, high = ratio < -max(6 * spread, 0.4), ratio > max(6 * spread, two)
    return low | same, high, ratio / spread


def section_at(
    read: Callable[[int], np.ndarray],
    layout: Layout,
    place: int,
    fill: tuple[float, ...] = (),
    phases: tuple[float, ...] | None = None,
) -> np.ndarray:
    """The section at a place; in a gap an estimate, by the cubic through two on either side.

    Args:
        read: Gives a section by its number.
        layout: Where they belong.
        place: From 0.
        fill: Values of pixels that were not measured.
        phases: The values of labels: the estimate is the likeliest of them.

    Returns:
        ``(H, W)`` as it is read, or float32 for an estimate.

    Raises:
        ValueError: if there is no section at all.
    """
    number = layout.order[place]
    if number is not None:
        return read(number)
    known = {p: k for p, k in enumerate(layout.order) if k is not None}
    if not known:
        raise ValueError("every section of the stack is blank")
    below, above = [p for p in known if p < place][-2:], [p for p in known if p > place][:2]
    if not below or not above:  # at an end
        return read(known[(above or below[::-1])[0]]).astype(np.float32)
    near = below + above
    sections = {p: read(known[p]) for p in near}
    masks = {p: fill_mask(sections[p], fill) for p in near}

    def between(values: dict[int, np.ndarray]) -> np.ndarray:
        out = np.zeros(sections[near[0]].shape, np.float32)
        for p in near:
            weight = np.prod([(place - q) / (p - q) for q in near if q != p])
            out += np.float32(weight) * values[p]
        return out

    if phases:
        likely = [between({p: s == phase for p, s in sections.items()}) for phase in phases]
        return np.asarray(phases, np.float32)[np.argmax(likely, 0)]
    out = between({p: replace_fill(sections[p], masks[p]) for p in near})
    for p in (below[-1], above[0]):  # what was not measured beside a gap was not in it
        out = np.where(masks[p], sections[p], out)
    return out.astype(np.float32)


@dataclass(frozen=True)
class Levels:
    """Brightness of each section, and what of it is the microscope's.

    Attributes:
        grey: ``(D, 5)`` percentiles :data:`PERCENTILES` of each section.
        natural: What each of them varies by itself, from one part of the material to another: sd.
        flicker: Sd from section to section over that, of the percentile for which it is most;
            above :data:`FLICKER` it is more than chance: the microscope's, or layers of a material.
    """

    grey: np.ndarray
    natural: np.ndarray
    flicker: float

    def apply(self, section: np.ndarray, k: int) -> np.ndarray:
        """Section ``k`` with the brightness and contrast of those around it; float32.

        The line through its percentiles and the median ones of nine sections, each with the weight
        of what it varies by itself; a contrast of 1 within 20 % is taken to be likely.
        """
        wanted = np.median(self.grey[max(0, k - 4) : k + 5], 0)
        rows = np.stack([self.grey[k], np.ones(len(wanted))], 1) / self.natural[:, None]
        rows = np.vstack([rows, [5.0, 0.0]])
        gain, offset = np.linalg.lstsq(rows, np.append(wanted / self.natural, 5.0), rcond=None)[0]
        return (np.float32(gain) * section + np.float32(offset)).astype(np.float32)


FLICKER = 2.5  # times what is natural
PERCENTILES = (5, 25, 50, 75, 95)


def find_levels(
    read: Callable[[int], np.ndarray], numbers: Sequence[int], fill: tuple[float, ...] = ()
) -> Levels:
    """How brightness and contrast flicker from section to section.

    What a section varies by itself, because it shows another part of the material, is told from
    what 16 parts of it vary.

    Args:
        read: Gives a section by its number.
        numbers: Sections that show something; others get the values of those around them.
        fill: Values of pixels that were not measured.
    """
    count, chance = max(numbers) + 1, []
    grey = np.full((count, len(PERCENTILES)), np.nan)
    for k in numbers:
        section = read(k)
        mask = fill_mask(section, fill)
        grey[k] = np.percentile(section[~mask], PERCENTILES)
        parts = []
        for y in np.array_split(np.arange(section.shape[0]), 4):
            for x in np.array_split(np.arange(section.shape[1]), 4):
                if len(y) and len(x) and not mask[np.ix_(y, x)].any():
                    parts.append(np.percentile(section[np.ix_(y, x)], PERCENTILES))
        if len(parts) > 3:
            chance.append(np.std(parts, 0) / np.sqrt(len(parts)))
    known = np.flatnonzero(np.isfinite(grey[:, 0]))
    least = 0.005 * float(np.ptp(np.median(grey[known], 0))) + 1e-9
    if section.dtype.kind in "ui":
        least = max(least, 0.5)  # percentiles of whole numbers go by steps of 1
    natural = np.maximum(np.median(chance, 0), least) if chance else np.full(grey.shape[1], np.inf)
    steps = np.abs(np.diff(grey[known], axis=0))
    flicker = 1.4826 * np.median(steps, 0) / np.sqrt(2) / natural if len(known) > 4 else 0.0
    full = [np.interp(np.arange(count), known, grey[known, c]) for c in range(grey.shape[1])]
    return Levels(np.stack(full, 1), natural, float(np.max(flicker)))


def changes(
    read: Callable[[int], np.ndarray],
    count: int,
    n: float,
    fill: tuple[float, ...] = (),
    most: int = 32,
) -> tuple[float, float, float]:
    """Mean square change of grey over the distance of two sections: along the depth and in them.

    Alike in all directions, the three are alike.

    Args:
        read: Gives a section by its number.
        count: Sections.
        n: Their spacing in pixels.
        fill: Values of pixels that were not measured.
        most: Pairs of sections to look at.

    Returns:
        Along the depth, and along the first and the second axis of a section.
    """
    sums = []
    pairs = np.unique(np.linspace(0, count - 2, min(most, count - 1)).astype(int))
    low = int(n)

    def change(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.nanmean(np.square(a - b)))

    for k in pairs:
        pair = read(int(k)), read(int(k) + 1)
        grey, after = (np.where(fill_mask(s, fill), np.nan, s.astype(float)) for s in pair)
        found = [change(grey, after)]
        for turned in (grey, grey.T):
            near, far = (change(turned[d:], turned[:-d]) for d in (low, low + 1))
            found.append(near + (n - low) * (far - near))
        sums.append(found)
    return tuple(np.nanmean(sums, 0).tolist())


def write_prepared(
    path: Path,
    stack: np.ndarray,
    layout: Layout,
    axis: int = 0,
    *,
    fill: tuple[float, ...] = (),
    phases: tuple[float, ...] | None = None,
    slips: np.ndarray | None = None,
    levels: Levels | None = None,
    smooth: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """A stack with its sections mended, as a memory-mapped ``.npy`` file; one section at a time.

    Args:
        path: The file; it gets its name when all is done.
        stack: Sections, three axes.
        layout: Where they belong; gaps get an estimate.
        axis: The depth.
        fill: Values of pixels that were not measured. They move with their section, and the first
            one stands where a section has moved away; without any, its border goes on.
        phases: The values of labels.
        slips: ``(D, 2)`` pixels along the axes of a section, to be taken back.
        levels: To apply.
        smooth: Take noise out of each section, by non-local means.
        progress: Show a bar.

    Returns:
        The stack, of its own kind, opened to be read.
    """
    from tqdm.std import tqdm

    read = reader(stack, axis)

    def mended(k: int) -> np.ndarray:
        section = read(k)
        mask = fill_mask(section, fill)
        grey = replace_fill(section, mask)
        if levels is not None:
            grey = levels.apply(grey, k)
        if smooth:
            grey = _denoised(grey)
        if slips is not None and np.abs(slips[k]).max() > 1e-3:
            how = dict(order=0 if phases else 3, mode="nearest")
            grey = ndimage.shift(grey if phases else grey.astype(np.float32), -slips[k], **how)
            gone = dict(order=0, mode="constant", cval=1.0 if fill else 0.0)
            moved = ndimage.shift(mask.astype(np.float32), -slips[k], **gone) > 0.5
            section = np.full(section.shape, fill[0] if fill else np.nan, np.float64)
            mask = moved
        return np.where(mask, section, grey) if mask.any() else grey

    shape = list(stack.shape)
    shape[axis] = len(layout.order)
    unfinished = path.with_name(f".partial-{path.name}")
    out = np.lib.format.open_memmap(unfinished, "w+", stack.dtype, tuple(shape))
    for place in tqdm(range(shape[axis]), "mending", disable=not progress):
        section = section_at(mended, layout, place, fill, phases)
        out[(slice(None),) * axis + (place,)] = cast(section, stack.dtype)
    out.flush()
    del out
    unfinished.replace(path)
    return np.load(path, mmap_mode="r")


def _denoised(section: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_nl_means, estimate_sigma

    low, high = np.percentile(section, [0.5, 99.5])
    grey = (section.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-9))
    sigma = float(estimate_sigma(grey))
    how = dict(patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True)
    return denoise_nl_means(grey, **how) * np.float32(max(high - low, 1e-9)) + np.float32(low)


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Grey values in a type: rounded and kept in its range, if it is one of whole numbers."""
    if np.dtype(dtype).kind in "ui":
        ends = np.iinfo(dtype)
        values = np.rint(np.clip(values, ends.min, ends.max))
    return values.astype(dtype)
