"""What an image or stack is, what is wrong with it, and how far it stands for its material.

Volumes may be larger than memory: of each at most :data:`MAX_VOXELS` voxels are read, a block in
the middle for what the whole is judged by, and a window in the middle of every section for what is
wrong with single sections.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, median_filter

from srlib.data.fill import fill_mask, find_fill
from srlib.data.planes import middle
from srlib.data.registration import align_sections
from srlib.data.sections import Layout, check_sections, odd_steps
from srlib.metrics.checks import MAX_PHASES
from srlib.metrics.representativeness import integral_range, representativeness

MAX_VOXELS = 2**24
TARGET = 0.05  # relative error of a fraction that an image should have
MOST_ERROR = 0.10  # above it an image is too small to be used without a word
MOST_SHIFT = 8  # pixels from one section to the next, at most, that are looked for
AXES = "zyx"


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: A word or two: ``"blank section"``, ``"fill"``, ``"voxel size"`` ...
        message: What it is, one sentence.
        advice: What to do, one sentence; empty if nothing.
        severity: ``"info"``, ``"warning"``, or ``"error"`` for what cannot be used.
        numbers: The same for a program.
    """

    kind: str
    message: str
    advice: str = ""
    severity: str = "info"
    numbers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """What an image is, and what was found.

    Attributes:
        shape, dtype: Of the whole image.
        kind: ``"labels"`` or ``"grey"``.
        reason: Why it is taken for that.
        voxel_size: Micrometres along the axes, or None.
        values: Of labels, the value of phase 0, 1, ...
        fractions: Of labels, of phase 0, 1, ...
        errors: Of the fractions: those of the material are within it (95 %).
        grey: Of a grey image, the percentiles 0.5 and 99.5 of the sample; else None.
        fill: Finite values that stand for nothing; NaN and infinity always do.
        examined: Share of the voxels that was read for the fractions.
        findings: Those of :class:`Finding`.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: str
    reason: str
    voxel_size: tuple[float | None, ...] | None
    values: list[float]
    fractions: list[float]
    errors: list[float]
    grey: tuple[float, float] | None
    fill: tuple[float, ...]
    examined: float
    findings: list[Finding]

    def worst(self) -> str:
        """``"info"``, ``"warning"`` or ``"error"``."""
        order = ("info", "warning", "error")
        return max((f.severity for f in self.findings), key=order.index, default="info")


def inspect_image(values: Any, voxel_size: tuple[float | None, ...] | None = None) -> Inspection:
    """Examine one image, stack or volume.

    Args:
        values: ``(H, W)`` or ``(D, H, W)``; anything with a shape, a dtype and slices, such as a
            memory map. At most :data:`MAX_VOXELS` voxels are read, twice for a larger volume.
        voxel_size: Micrometres along its axes, None where unknown.

    Raises:
        ValueError: if it is no image: other dimensions, empty, or no numbers.

    Example:
        >>> import numpy as np
        >>> from scipy.ndimage import gaussian_filter
        >>> from srlib.data.inspection import inspect_image
        >>> rng = np.random.default_rng(0)
        >>> stack = gaussian_filter(rng.normal(size=(20, 64, 64)), 1.5) * 500 + 100
        >>> stack[7] = 0
        >>> [f.kind for f in inspect_image(stack, (1, 1, 1)).findings if f.severity == "warning"]
        ['blank section']
    """
    shape = tuple(int(n) for n in values.shape)
    if len(shape) not in (2, 3) or min(shape, default=0) < 1:
        raise ValueError(f"an image is (H, W) or (D, H, W) and not empty, not {shape}")
    if np.dtype(values.dtype).kind not in "buif":
        raise ValueError(f"an image holds numbers, not {values.dtype}")
    block = read_block(values)
    if not np.isfinite(block).any():
        raise ValueError("the image has no finite value: save it again")
    kind, reason, found, stray = kind_of(block)
    grey = kind == "grey" and not stray
    fill = find_fill(block if block.ndim == 3 else block[None]) if grey else ()
    inside = _measured(block, fill)
    findings = [*stray, *_about_voxels(shape, voxel_size)]
    sections = block if block.shape == shape else _read_sections(values)
    if grey and block.ndim == 3:  # blank sections hold no grey values of the sample
        live = (block != block[:, :1, :1]).any((1, 2))
        block, inside = (block[live], inside[live]) if live.any() else (block, inside)
    if grey:
        findings += _about_fill(fill, inside) + _about_saturation(block, inside)
    bad, rows, columns = _fixed(sections if block.ndim == 3 else sections[None], fill, grey)
    findings += bad
    if block.ndim == 3 and not stray:
        findings += inspect_sections(sections[:, rows, columns], kind, fill)
    if block.shape[1:] == shape[1:]:
        block, inside = block[..., rows, columns], inside[..., rows, columns]
    clean = _without_fill(block, inside)
    findings += _about_curtains(clean) if grey else []
    if not {"curtaining", "shifted section"} & {f.kind for f in findings}:
        findings += _about_direction(clean, kind, voxel_size)
    examined = clean.size / np.prod(shape, dtype=float)
    fractions, errors, about = _about_size(clean, kind, found, examined)
    findings += about
    return Inspection(
        shape=shape,
        dtype=str(np.dtype(values.dtype)),
        kind=kind,
        reason=reason,
        voxel_size=voxel_size,
        values=found if kind == "labels" else [],
        fractions=fractions,
        errors=errors,
        grey=_grey_range(clean) if kind == "grey" else None,
        fill=fill,
        examined=float(examined),
        findings=findings,
    )


def read_block(values: Any, most: int = MAX_VOXELS) -> NDArray:
    """The middle of an image, as near to a cube of ``most`` voxels as its shape allows."""
    return np.asarray(values[middle(tuple(values.shape), most)])


def _read_sections(values: Any) -> NDArray:
    """A window in the middle of every section."""
    window = middle(tuple(values.shape[1:]), max(MAX_VOXELS // values.shape[0], 64**2))
    return np.stack([np.asarray(values[(k, *window)]) for k in range(values.shape[0])])


def kind_of(block: NDArray) -> tuple[str, str, list[float], list[Finding]]:
    """Labels or grey, why, the values of labels, and findings about it.

    Up to :data:`srlib.metrics.checks.MAX_PHASES` values are phases. A grey image nearly all of
    whose voxels have a few values with gaps between is labels that were interpolated.
    """
    values, counts = _histogram(block)
    if values.size <= MAX_PHASES:
        found = [v.item() for v in values]
        listed = ", ".join(f"{v:g}" for v in found)
        return "labels", f"{values.size} value{'s' * (values.size > 1)}: {listed}", found, []
    reason = f"{values.size} values" if values.size < 65536 else "many values"
    share = counts / counts.sum()
    beside = np.maximum(np.append(share[1:], 0), np.insert(share[:-1], 0, 0))
    peaks = (share > 0.02) & (share > 5 * beside)
    numbers = {"values": int(values.size), "between": float(1 - share[peaks].sum())}
    if 2 <= peaks.sum() <= MAX_PHASES and share[peaks].sum() > 0.6:
        listed = ", ".join(f"{v:g}" for v in values[peaks])
        message = f"{1 - share[peaks].sum():.1%} of the voxels lie between the values {listed}"
        advice = (
            "it looks like labels that were resized or compressed with loss: save them again with "
            "nearest-neighbour interpolation, or segment"
        )
        return "grey", reason, [], [Finding("stray values", message, advice, "warning", numbers)]
    if values.size <= 32:
        message = f"{values.size} values are many for phases (at most {MAX_PHASES})"
        advice = "merge labels of single particles into phases, or segment a grey image"
        return "grey", reason, [], [Finding("many values", message, advice, "warning", numbers)]
    return "grey", reason, [], []


def _histogram(block: NDArray) -> tuple[NDArray, NDArray]:
    """Values and counts; of floats that have many values, of some of them."""
    if block.dtype.kind == "b" or block.dtype.itemsize == 1 or block.dtype.str[1:] in ("u2", "i2"):
        flat = block.ravel().astype(np.int32)
        low = int(flat.min())
        counts = np.bincount(flat - low)
        places = np.flatnonzero(counts)
        return (places + low).astype(block.dtype), counts[places]
    flat = block.ravel()
    some = flat[:: max(1, flat.size // 2**18)]
    some = some[np.isfinite(some)]
    if some.size and np.unique(some).size <= 64:
        some = flat[np.isfinite(flat)]
    return np.unique(some if some.size else flat[np.isfinite(flat)], return_counts=True)


def _about_voxels(shape: tuple[int, ...], size: tuple[float | None, ...] | None) -> list[Finding]:
    edges = [v for v in size or () if v is not None]
    if size is None or len(edges) < len(size):
        known = "unknown" if size is None else f"known in part: {voxels(size)}"
        advice = "give it in the file, so that outputs have theirs and sizes can be compared"
        return [Finding("voxel size", f"the voxel size is {known}", advice)]
    if max(edges) > 1.01 * min(edges):
        ratio = max(edges) / min(edges)
        message = f"voxels are not cubes: {voxels(size)}, a ratio of {ratio:.3g}"
        advice = "restore the planes between sections with srlib depth where cubes are needed"
        return [Finding("voxel size", message, advice, "info", {"ratio": ratio})]
    return []


def voxels(size: tuple[float | None, ...]) -> str:
    """A voxel size in words: ``0.4 x 0.4 x 0.4 um``."""
    return " x ".join("?" if v is None else f"{v:.4g}" for v in size) + " um"


def _measured(values: NDArray, fill: tuple[float, ...]) -> NDArray:
    """Where an image or a stack holds values of the sample; bool."""
    if not fill and values.dtype.kind != "f":
        return np.ones(values.shape, bool)
    planes = values if values.ndim == 3 else values[None]
    return ~np.stack([fill_mask(plane, fill) for plane in planes]).reshape(values.shape)


def _about_fill(fill: tuple[float, ...], inside: NDArray) -> list[Finding]:
    share = 1 - float(inside.mean())
    if not fill and share == 0:
        return []
    value = " or ".join(f"{v:g}" for v in fill) or "NaN or infinite"
    message = f"{share:.1%} of the voxels are {value}, which is no grey value of the sample"
    advice = "crop it, or leave it: grey limits are taken from the other voxels"
    return [Finding("fill", message, advice, "warning", {"values": list(fill), "share": share})]


def _about_saturation(block: NDArray, inside: NDArray) -> list[Finding]:
    sample = block[inside]
    sample = sample[:: max(1, sample.size // 2**20)]
    if not sample.size:
        return []
    out = []
    for name, value in (("white", sample.max()), ("black", sample.min())):
        share = float((sample == value).mean())
        span = 3.0 if sample.dtype.kind in "ui" else float(np.ptp(sample)) * 0.01
        near = np.abs(sample.astype(np.float64) - float(value))
        beside = float(((near > 0) & (near <= span)).mean()) / (3 if span == 3.0 else 1)
        if share > 0.01 and share > 4 * beside:
            message = f"{share:.1%} of the voxels are clipped at {name} ({value:g})"
            advice = "export again with wider grey limits: what is clipped cannot come back"
            numbers = {"value": float(value), "share": share}
            out.append(Finding("saturation", message, advice, "warning", numbers))
    return out


def _fixed(
    sections: NDArray, fill: tuple[float, ...], grey: bool
) -> tuple[list[Finding], slice, slice]:
    """Data bars and frames, which do not belong to the sample, and the rows and columns inside."""
    whole = slice(None)
    if grey and len(sections) == 1:
        return _data_bar(sections[0])
    if not grey or len(sections) < 8 or min(sections.shape[1:]) < 32:
        return [], whole, whole
    chosen = sections[np.linspace(0, len(sections) - 1, 32).astype(int)]
    live = chosen[chosen.std((1, 2)) > 0]
    if len(live) < 8:
        return [], whole, whole
    still = (live == live[0]).mean(0) > 0.9
    share = float(still.mean())
    if share < 0.005 or share > 0.9:
        return [], whole, whole
    rows, columns = (_longest(still.mean(axis) < 0.5) for axis in (1, 0))
    if (still & ~np.isin(live[0], fill)).mean() < 0.002:
        return [], rows, columns  # said of the fill value
    message = f"{share:.1%} of the pixels are the same in all sections: a frame, bar or scale"
    advice = f"crop to rows {_said(rows)} and columns {_said(columns)}"
    return [Finding("fixed frame", message, advice, "warning", {"share": share})], rows, columns


def _data_bar(image: NDArray) -> tuple[list[Finding], slice, slice]:
    """The strip with scale and text that a microscope writes under an image."""
    whole = slice(None)
    if min(image.shape) < 32:
        return [], whole, whole
    common = np.array([np.unique(row, return_counts=True)[1].max() for row in image])
    flat = common > 0.4 * image.shape[1]
    if flat.mean() > 0.5 or np.median(common) > 0.2 * image.shape[1]:
        return [], whole, whole
    rows = _longest(~median_filter(flat, 5))
    height = flat[: rows.start].sum() + flat[rows.stop :].sum()
    bar = np.concatenate([image[: rows.start], image[rows.stop :]])
    if height < 4 or np.ptp(bar) == 0:
        return [], whole, whole
    message = f"{len(bar)} rows at the border are a data bar"
    advice = f"crop to rows {_said(rows)}"
    return [Finding("fixed frame", message, advice, "warning", {"rows": len(bar)})], rows, whole


def _longest(good: NDArray) -> slice:
    """The longest run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, good.astype(np.int8), 0]))
    if not edges.size:
        return slice(0, good.size)
    starts, stops = edges[::2], edges[1::2]
    k = int(np.argmax(stops - starts))
    return slice(int(starts[k]), int(stops[k]))


def _said(part: slice) -> str:
    return f"{part.start} to {part.stop - 1}"


def inspect_sections(
    stack: NDArray, kind: str = "grey", fill: tuple[float, ...] = ()
) -> list[Finding]:
    """Sections that are blank, doubled, missing, damaged, shifted, or of another brightness.

    Each section is compared with the next; a fault is what stands out from the rest of the stack.

    Args:
        stack: ``(D, H, W)`` without fixed frames.
        kind: ``"grey"`` or ``"labels"``.
        fill: Values that stand for nothing.
    """
    if len(stack) < 5 or min(stack.shape[1:]) < 16:
        return []
    inside = _measured(stack, fill)
    plain = np.zeros(stack.shape, np.float32)
    for k, (section, seen) in enumerate(zip(stack, inside, strict=True)):
        values = section[seen].astype(np.float32) if seen.any() else np.zeros(1, np.float32)
        if (sd := values.std(dtype=np.float64)) > 0:
            plain[k][seen] = (values - values.mean(dtype=np.float64)) / sd
            plain[k] = gaussian_filter(plain[k], 1.0)
    live = plain.any((1, 2))
    if 2 * live.sum() <= live.size:
        return []
    try:
        layout = check_sections(stack, fill=fill)
    except ValueError:  # nothing to be seen in the middle
        return []
    blank = [k for k in layout.blank if kind == "grey" or _sudden(stack, k)]
    findings = _about_blank(blank)
    good = np.setdiff1d(np.flatnonzero(live), layout.blank)
    if len(good) < 5:
        return findings
    looks = stack[0].size / max(integral_range(plain[good[len(good) // 2]]), 1.0)
    found, rest = _about_shifts(plain, good, looks)
    findings += found
    if kind == "grey":
        findings += _about_brightness(stack, inside, good, looks)
    labels = stack if kind == "labels" else None
    return findings + _about_steps(plain, good, rest, layout, labels)


def _sudden(stack: NDArray, k: int) -> bool:
    """Whether the neighbours of a label section have little of what fills it."""
    values, counts = np.unique(stack[k], return_counts=True)
    beside = [stack[j] for j in (k - 1, k + 1) if 0 <= j < len(stack)]
    return bool(np.mean([np.mean(b == values[counts.argmax()]) for b in beside]) < 0.9)


def _about_blank(which: list[int]) -> list[Finding]:
    if not which:
        return []
    message = f"{_sections(which)} blank: next to nothing, where the others have structure"
    advice = "leave out and bridge with srlib depth, or crop where they are at the end"
    return [Finding("blank section", message, advice, "warning", {"sections": which})]


def _sections(which: list[int]) -> str:
    listed = ", ".join(map(str, which[:6])) + ", ..." * (len(which) > 6)
    return f"section {listed} is" if len(which) == 1 else f"{len(which)} sections ({listed}) are"


def _likeness(a: NDArray, b: NDArray) -> float:
    """Correlation of two parts of sections."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt(float((a * a).sum(dtype=np.float64)) * float((b * b).sum(dtype=np.float64)))
    return float((a * b).sum(dtype=np.float64)) / norm if norm > 0 else 0.0


def _overlap(a: NDArray, b: NDArray, step: NDArray) -> tuple[NDArray, NDArray]:
    """The parts of two sections that show the same if the second has slipped by whole pixels."""
    first, second = [], []
    for move, n in zip(np.rint(step).astype(int), a.shape, strict=True):
        first.append(slice(max(0, -move), n - max(0, move)))
        second.append(slice(max(0, move), n - max(0, -move)))
    return a[tuple(first)], b[tuple(second)]


def _about_shifts(plain: NDArray, good: NDArray, looks: float) -> tuple[list[Finding], NDArray]:
    """Findings, and the steps between good sections, shape ``(len(good) - 1, 2)``, 0 if not sure.

    A step counts if the sections are more alike after it than chance would have it.
    """
    most = min(MOST_SHIFT, min(plain.shape[1:]) // 2 - 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is judged below
        steps = np.diff(align_sections(plain[good], most), axis=0)
    sure = np.zeros(len(steps), bool)
    for k, step in enumerate(steps):
        if np.abs(step).max() < 0.75:
            continue
        a, b = plain[good[k]], plain[good[k + 1]]
        after = _likeness(*_overlap(a, b, step))
        chance = 3 * (1 - after**2) / np.sqrt(looks)
        sure[k] = after > 0.3 and after - _likeness(a, b) > max(0.03, chance)
    calm = steps[~sure]
    kept = np.where(sure[:, None], steps, 0.0)
    numbers = {"sections": good[1:][sure].tolist(), "pixels": steps[sure].round(2).tolist()}
    advice = "align the sections first, see srlib.data.registration.align_sections"
    if sure.sum() > max(4, 0.2 * len(steps)):
        rms = float(np.sqrt((kept**2).sum(1).mean()))
        numbers["rms"] = rms
        message = f"sections are shifted against each other, by {rms:.1f} pixels (rms of all)"
        return [Finding("shifted section", message, advice, "warning", numbers)], kept
    if sure.any():
        by = ", ".join(f"({y:+.0f}, {x:+.0f})" for y, x in steps[sure][:4])
        message = f"{_sections(numbers['sections'])} shifted by {by} pixels (y, x)"
        return [Finding("shifted section", message, advice, "warning", numbers)], kept
    drift, spread = calm.mean(0), calm.std(0) / np.sqrt(len(calm))
    if np.hypot(*drift) > 0.2 and (np.abs(drift) > 6 * spread + 0.05).any():
        message = f"sections drift by ({drift[0]:+.2f}, {drift[1]:+.2f}) pixels (y, x) from each"
        message += " to the next"
        advice += ", unless the material is inclined like this"
        numbers = {"drift": drift.round(3).tolist()}
        return [Finding("drift", message, advice, "warning", numbers)], kept
    return [], kept


def _about_brightness(
    stack: NDArray, inside: NDArray, good: NDArray, looks: float
) -> list[Finding]:
    """Sections whose mean grey jumps by more than the material can explain."""
    jump, limit = np.empty(len(good) - 1), np.empty(len(good) - 1)
    middle = stack[good[len(good) // 2]][inside[good[len(good) // 2]]]
    low, high = np.percentile(middle, [1, 99])
    for k, (i, j) in enumerate(zip(good[:-1], good[1:], strict=True)):
        both = inside[i] & inside[j]
        step = stack[j][both].astype(np.float32) - stack[i][both]
        jump[k], limit[k] = step.mean(), 5 * step.std() / np.sqrt(max(looks * both.mean(), 2))
    limit = np.maximum(limit, 0.03 * (high - low))
    odd = np.abs(jump) > limit
    if not odd.any():
        return []
    share = float(np.sqrt((jump**2).mean()) / (high - low))
    advice = "level the sections: bring the mean and spread of each to those of its neighbours"
    before, after = np.r_[False, odd], np.r_[odd, False]
    single = before & after & (np.r_[0, jump] * np.r_[jump, 0] < 0)
    which = good[single].tolist()
    numbers = {"sections": which, "share": share}
    if odd.sum() > max(4, 0.2 * len(odd)):
        message = f"the brightness jumps from section to section, by {share:.1%} of the grey range"
    elif which:
        message = f"{_sections(which)} of another brightness"
    else:
        numbers["sections"] = good[1:][odd].tolist()
        message = f"the brightness changes at section {numbers['sections'][0]}"
    return [Finding("brightness", message, advice, "warning", numbers)]


def _about_steps(
    plain: NDArray, good: NDArray, shifts: NDArray, layout: Layout, labels: NDArray | None
) -> list[Finding]:
    """Sections that are doubled, missing or damaged, by how far each is from the next."""
    near = np.array(
        [
            np.sqrt(max(2 - 2 * _likeness(*_overlap(plain[i], plain[j], s)), 0.0))
            for i, j, s in zip(good[:-1], good[1:], shifts, strict=True)
        ]
    )
    near[np.diff(good) > 1] = np.nan  # on both sides of a blank one
    far = [
        np.sqrt(max(2 - 2 * _likeness(plain[i], plain[k]), 0.0))
        for i, k in zip(good[:-2], good[2:], strict=True)
    ]
    same = near < 1e-3
    if same.sum() > max(2, 0.2 * near.size):
        share = float(same.mean())
        message = f"{share:.0%} of the sections are the same as the one before"
        advice = "keep one of each: sections were repeated to fill the depth, or are no stack"
        return [Finding("doubled section", message, advice, "warning", {"share": share})]
    low, high, sds = odd_steps(near, float(np.nanmedian(far)))
    damaged = good[np.flatnonzero(high[:-1] & high[1:]) + 1].tolist()
    if labels is not None:  # the same place once more has nearly the same labels
        low &= [
            bool((labels[i] == labels[j]).mean() > 0.95)
            for i, j in zip(good[:-1], good[1:], strict=True)
        ]
    doubled = sorted({*good[1:][low].tolist(), *layout.doubled})
    likely = good[1:][~shifts.any(1) & (sds > 2)]  # neither slipped nor where steps differ anyway
    alone = {k + 1: many for k, many in layout.unlike if k + 1 in likely}
    out = []
    if doubled:
        message = f"{_sections(doubled)} nearly the one before: imaged twice, or cut too thin"
        advice = "leave one out" if labels is not None else "leave out and bridge with srlib depth"
        out.append(Finding("doubled section", message, advice, "warning", {"sections": doubled}))
    if alone:
        message = f"before section {', '.join(map(str, list(alone)[:6]))} something is missing: it "
        message += f"is as unlike the one before as if {max(alone.values())} or more were lost"
        words = " ".join(f"--missing {k - 1}" for k in alone)
        advice = f"if so, srlib depth with {words} restores the gap"
        numbers = {"before": list(alone), "lost": list(alone.values())}
        out.append(Finding("missing section", message, advice, "warning", numbers))
    if damaged:
        message = f"{_sections(damaged)} unlike both neighbours: damaged, or of another place"
        advice = "look at it; leave out and bridge with srlib depth"
        out.append(Finding("damaged section", message, advice, "warning", {"sections": damaged}))
    return out


def _without_fill(block: NDArray, inside: NDArray) -> NDArray:
    """The middle of a block, as large as it can be without fill values; float if it had any."""
    for cut in np.arange(0, 0.46, 0.05):
        part = tuple(slice(int(cut * n), n - int(cut * n)) for n in block.shape)
        if inside[part].mean() > 0.999:
            break
    if inside[part].all():
        return block[part]
    values = block[part].astype(np.float32)
    values[~inside[part]] = values[inside[part]].mean() if inside[part].any() else 0
    return values


def _grey_range(clean: NDArray) -> tuple[float, float]:
    low, high = np.percentile(clean.ravel()[:: max(1, clean.size // 2**20)], [0.5, 99.5])
    return float(low), float(high)


def direction(
    block: NDArray, kind: str = "labels", voxel_size: tuple[float | None, ...] | None = None
) -> tuple[NDArray, NDArray]:
    """Unlike pairs along each axis over their mean, less 1, and the standard error.

    Pairs are a distance apart that is the same along all axes, the longest edge of a voxel. The
    error is that of the mean over parts of the block.

    Args:
        block: Labels or grey values.
        kind: For grey values the mean square difference counts, after a slight smoothing.
        voxel_size: Taken for cubes where unknown.

    Example:
        >>> import numpy as np
        >>> from srlib.data.inspection import direction
        >>> stripes = np.zeros((64, 64), np.uint8); stripes[:, ::8] = 1
        >>> direction(stripes)[0].round(2).tolist()
        [-1.0, 1.0]
    """
    known = voxel_size is not None and all(voxel_size)
    sizes = np.array(voxel_size if known else (1.0,) * block.ndim, float)
    lags = np.maximum(np.rint(sizes.max() / sizes).astype(int), 1)
    values = block
    if kind == "grey":
        values = gaussian_filter(block.astype(np.float32), sizes.min() / sizes)
    split = [max(1, min(3, n // (4 * lag))) for n, lag in zip(block.shape, lags, strict=True)]
    rows = []
    for part in np.ndindex(*split):
        cut = tuple(
            slice(k * n // s, (k + 1) * n // s)
            for k, n, s in zip(part, block.shape, split, strict=True)
        )
        rows.append([_unlike(values[cut], axis, lag, kind) for axis, lag in enumerate(lags)])
    unlike = np.array(rows)
    mean = unlike.mean()
    if not mean > 0:
        return np.zeros(block.ndim), np.zeros(block.ndim)
    about = (unlike - unlike.mean(1, keepdims=True)) / mean
    error = about.std(0, ddof=1) / np.sqrt(len(about)) if len(about) > 1 else np.inf
    return unlike.mean(0) / mean - 1, np.broadcast_to(error, block.ndim)


def _unlike(values: NDArray, axis: int, lag: int, kind: str) -> float:
    planes = np.moveaxis(values, axis, 0)
    if len(planes) <= lag:
        return 0.0
    if kind == "labels":
        return float(np.mean(planes[lag:] != planes[:-lag]))
    return float(np.mean((planes[lag:] - planes[:-lag]) ** 2, dtype=np.float64))


def _about_direction(
    clean: NDArray, kind: str, voxel_size: tuple[float | None, ...] | None
) -> list[Finding]:
    if min(clean.shape) < 12:
        return []
    off, error = direction(clean, kind, voxel_size)
    axis = int(np.argmax(np.abs(off - np.median(off)))) if clean.ndim == 3 else int(off.argmax())
    others = float(np.delete(1 + off, axis).mean())
    ratio = (1 + float(off[axis])) / max(others, 1e-9)
    numbers = {"deviation": off.round(4).tolist(), "error": error.round(4).tolist()}
    name = AXES[-clean.ndim :][axis]
    if not (max(ratio, 1 / max(ratio, 1e-9)) > 1.2 and abs(off[axis]) > 4 * error[axis]):
        return [Finding("isotropy", "alike along all axes", "", "info", numbers)]
    numbers["ratio"] = ratio
    message = f"not alike along all axes: {ratio:.2f} times as many changes along {name}"
    stack = voxel_size is None and clean.ndim == 3 and axis == 0 and ratio > 1
    if stack:
        message += ", or sections are farther apart than pixels"
    advice = "if the material has a direction, give fine images normal to each axis"
    if stack:
        advice += "; if sections are 4 pixels apart, srlib depth --n 4 makes the planes between"
    elif clean.ndim == 2:
        advice += "; else see whether streaks of the preparation were segmented"
    else:
        advice += "; else mend the voxel size"
    return [Finding("direction", message, advice, "warning", numbers)]


def _about_curtains(clean: NDArray) -> list[Finding]:
    """Streaks that go on through the whole height, or width, of sections."""
    planes = clean[None] if clean.ndim == 2 else clean
    if min(planes.shape[1:]) < 48:
        return []
    chosen = planes[np.unique(np.linspace(0, len(planes) - 1, 16).astype(int))]
    found = np.array([[_streaks(p), _streaks(p.T)] for p in chosen.astype(np.float32)])
    streaks = found.mean(0)
    looks = np.array(chosen.shape[:0:-1]) / 8 * min(len(chosen), 4)
    numbers = {"along y": float(streaks[0]), "along x": float(streaks[1])}
    axis = int(streaks.argmax())
    if streaks[axis] < 0.25 or streaks[axis] * np.sqrt(looks[axis]) < 4:
        return []
    message = f"streaks along {'yx'[axis]} go through whole sections (correlation of their "
    message += f"profiles {streaks[axis]:.2f}): curtaining, or the material's own direction"
    advice = "take them out with a stripe filter before segmenting, or use another section"
    return [Finding("curtaining", message, advice, "warning", numbers)]


def _streaks(plane: NDArray) -> float:
    """Correlation of the column means of parts of a plane that do not touch each other.

    Of what is left of every row without its slow part, and without its extremes, which are edges of
    the material.
    """
    rough = plane - gaussian_filter1d(plane, 3.0, axis=1)
    rough = np.clip(rough, *np.percentile(rough, [10, 90]))
    profiles = [band.mean(0, dtype=np.float64) for band in np.array_split(rough, 6)]
    return max(_likeness(profiles[k], profiles[k + 2]) for k in range(4))


def _about_size(
    clean: NDArray, kind: str, values: list[float], examined: float
) -> tuple[list[float], list[float], list[Finding]]:
    """Fractions of phases, their errors, and how large an image must be."""
    if kind == "labels":
        masks = [clean == v for v in values]
    elif np.ptp(clean) > 0:
        from skimage.filters import threshold_otsu

        level = float(threshold_otsu(clean))
        masks = [clean <= level, clean > level]
    else:
        masks = [np.ones(clean.shape, bool)]
    fractions = [float(m.mean()) for m in masks]
    if max(fractions) == 1:
        advice = "check the file: there is nothing to learn from"
        found = Finding("constant", "all voxels have one value", advice, "error")
        return fractions, [0.0] * len(fractions), [found]
    looks = [representativeness(m, TARGET, examined) for m in masks if 0 < m.mean() < 1]
    errors = iter(r.error for r in looks)
    errors = [next(errors) if f > 0 else 0.0 for f in fractions]
    worst = max(looks, key=lambda r: r.relative_error)
    phase = fractions.index(worst.fraction)
    name = f"phase {phase}" if kind == "labels" else ("dark part", "bright part")[phase]
    numbers = {
        "phase": phase,
        "relative_error": worst.relative_error,
        "edge": worst.edge,
        "integral_range": worst.integral_range,
    }
    edge = f"{worst.edge:,.0f}^{clean.ndim}"
    message = (
        f"the fraction of {name}, {worst.fraction:.3g}, is known to {worst.relative_error:.1%}"
    )
    message += f" (95 %); {TARGET:.0%} takes {edge} voxels"
    if not worst.converged:
        message += ", or more: structures are as large as the image"
    too_small = worst.relative_error > MOST_ERROR or not worst.converged
    severity = "warning" if too_small and kind == "labels" else "info"
    advice = "use a larger image, or several, or fractions known otherwise" * too_small
    return fractions, errors, [Finding("representativeness", message, advice, severity, numbers)]
