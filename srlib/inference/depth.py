"""Give a stack of sections the planes between them: in memory, or from file to file (FIB-SEM).

    srlib depth stack.tif -o fine.tif --n 8

trains on the sections of the stack itself, in minutes, and restores it.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.std import tqdm

from srlib.data import io
from srlib.data.fill import fill_mask, find_fill, replace_fill
from srlib.data.normalization import grey_limits
from srlib.data.planes import middle
from srlib.data.sections import cast, check_grey, reader
from srlib.inference.journal import Journal
from srlib.physics.sectioning import check_stack, plane_count, stretched, weights
from srlib.precision import autocast

PLANES = ("both", "xz", "yz")
AT_ONCE = 2**17  # pixels of sections that the network sees at once
SLAB = 2**25  # voxels of a piece of a file
BLOCK = 512  # pixels an edge of a piece of larger sections
TRIED = 2**19  # pixels in the middle of a section that is decimated and restored


def restore(
    model: nn.Module,
    stack: np.ndarray,
    axis: int = 0,
    planes: str = "both",
    *,
    limits: tuple[float, float] | None = None,
    fill: tuple[float, ...] | None = None,
    measured: Sequence[bool] | None = None,
    phases: tuple[float, ...] | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """All planes of a stack of which one in ``n`` was measured.

    The network sees the planes that hold the depth and one of the other two axes, xz and yz, and
    the two volumes that it makes of them are averaged (FIB-SEM, Methods; how the paper joins them
    it does not say, GAP-39). Measured sections stay as they are.

    A network that was trained for a spacing that is no whole number makes planes a little closer
    than pixels are, and a cubic takes from them the planes at the distance of a pixel. Section k is
    at ``n k + n // 2`` of them; those that lie on a plane stay as they are.

    Args:
        model: Of :func:`srlib.training.fit_depth`, for this n.
        stack: Sections, three axes, grey values of any kind.
        axis: The depth.
        planes: ``"both"``, or only those with the last (``"xz"``) or the first (``"yz"``) of the
            other two axes.
        limits: Grey values that are -1 and 1 to the network; None for the stack's own
            (:func:`srlib.data.normalization.grey_limits`).
        fill: Values that mark voxels as not measured; None for those that
            :func:`srlib.data.fill.find_fill` finds. The network sees the nearest measured pixel
            in their place, and they come back: a plane between two sections has them wherever one
            of both has.
        measured: Whether a section was measured; False for an estimate in a gap. None for all.
        phases: The values of a stack of labels: each is restored as a volume of its own, and the
            likeliest of them is taken, so there is no other value.
        progress: Show a bar; None for only when there is more than a moment's work.

    Returns:
        ``n`` times as many planes along ``axis``, of the kind of ``stack``; whole numbers are
        rounded and stay in its range.

    Raises:
        ValueError: if the model is none for sections, or for what is no stack.

    Example:
        >>> import numpy as np
        >>> from srlib import models
        >>> from srlib.inference.depth import restore
        >>> model = models.DepthGenerator(4, width=8)  # train one with srlib.training.fit_depth
        >>> stack = np.random.default_rng(0).integers(0, 256, (6, 16, 16)).astype(np.uint8)
        >>> made = restore(model, stack)
        >>> made.shape, bool((made[2::4] == stack).all())  # measured sections stay as they are
        ((24, 16, 16), True)
    """
    _check(model, stack, axis, planes)
    if not phases:
        check_grey(stack, axis)
        fill = find_fill(stack, axis) if fill is None else fill
        limits = grey_limits(stack, axis, fill=fill) if limits is None else limits
    part = _Part(0, 0, plane_count(stack.shape[axis], spacing(model)))
    how = (limits, fill, measured, phases, progress)
    return restore_part(model, stack, part, axis, planes, *how)


def spacing(model: nn.Module) -> float:
    """Distance of the sections in pixels that a network was trained for."""
    found = float(getattr(model, "meta", {}).get("spacing", model.n))
    return int(found) if found == int(found) else found


class _Part(NamedTuple):
    """Which planes of a whole to make from a part of its sections.

    Attributes:
        section: Number of the first section of the part.
        first, last: Planes of the whole, the last one not included.
    """

    section: int
    first: int
    last: int


def restore_part(
    model: nn.Module,
    stack: np.ndarray,
    part: _Part,
    axis: int,
    planes: str,
    limits: tuple[float, float] | None,
    fill: tuple[float, ...] | None,
    measured: Sequence[bool] | None,
    phases: tuple[float, ...] | None,
    progress: bool | None,
) -> np.ndarray:
    """Planes of a part of a stack; ``stack`` holds its sections."""
    if phases:
        best: np.ndarray | None = None
        found = np.empty(0, stack.dtype)
        for phase in phases:
            one = (stack == phase).astype(np.float32)
            how = ((0.0, 1.0), (), measured, None, progress)
            share = restore_part(model, one, part, axis, planes, *how)
            if best is None:
                best, found = share, np.full(share.shape, phase, stack.dtype)
            found[share > best] = phase
            best = np.maximum(best, share)
        return found
    assert limits is not None and fill is not None  # only labels need neither
    low, high = limits
    moved = np.moveaxis(stack, axis, 0)
    masks = np.stack([fill_mask(section, fill) for section in moved])
    grey = moved
    if masks.any():
        grey = np.stack([replace_fill(s, mask) for s, mask in zip(moved, masks, strict=True)])
        grey = np.where(np.isfinite(grey), grey, (low + high) / 2)
    scaled = (grey.astype(np.float32) - (low + high) / 2) / ((high - low) / 2)
    found = _between(model, scaled, planes, progress)
    n, distance = model.n, spacing(model)
    place = (np.arange(part.first, part.last) - distance // 2) / distance - part.section
    if distance == n:
        start = part.first - n * part.section
        found = found[start : start + len(place)]
    else:
        found = _at(found, place * n + n // 2)
    found = cast(found * ((high - low) / 2) + (low + high) / 2, stack.dtype)
    for plane, where in enumerate(place):
        here = round(where)
        if abs(where - here) < 1e-6 and 0 <= here < len(moved):
            if measured is None or measured[here]:
                found[plane] = moved[here]
        for k in {math.floor(where + 1e-6), math.ceil(where - 1e-6)}:
            k = min(max(k, 0), len(moved) - 1)
            if masks[k].any():
                found[plane][masks[k]] = moved[k][masks[k]]
    return np.moveaxis(found, 0, axis)


def _between(
    model: nn.Module, scaled: np.ndarray, planes: str, progress: bool | None
) -> np.ndarray:
    """What the network makes of sections ``(m, H, W)`` in its own grey values."""
    x = torch.from_numpy(scaled)
    turns = [t for t, name in (((1, 0, 2), "xz"), ((2, 0, 1), "yz")) if planes in ("both", name)]
    out = torch.zeros((len(x) * model.n, *x.shape[1:]))
    device = next(model.parameters()).device
    if progress is None:
        progress = out.numel() > 2e7
    bar = tqdm(total=sum(x.shape[t[0]] for t in turns), desc="restoring", disable=not progress)
    with torch.inference_mode(), autocast(device), bar:
        for turn in turns:
            seen, target = x.permute(turn), out.permute(turn)
            step = max(1, AT_ONCE // seen[0].numel())
            for k in range(0, len(seen), step):
                part = seen[k : k + step, None].contiguous().to(device)
                target[k : k + step] += model(part)[:, 0].float().cpu()
                bar.update(len(part))
    return (out / len(turns)).numpy()


def _at(planes: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Planes at places between them, by Keys' cubic; the border goes on."""
    low, out = np.floor(place).astype(int), np.zeros((len(place), *planes.shape[1:]), np.float32)
    for k in range(-1, 3):
        t = np.abs(place - low - k)
        near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * (t**3 - 5 * t**2 + 8 * t - 4)
        share = np.where(t <= 1, near, far).astype(np.float32)
        out += share[:, None, None] * planes[np.clip(low + k, 0, len(planes) - 1)]
    return out


def _check(model: nn.Module, stack: np.ndarray, axis: int, planes: str = "both") -> None:
    if not hasattr(model, "n") or not hasattr(model, "reach"):
        raise ValueError(f"a {type(model).__name__} restores no depth: give one of fit_depth")
    check_stack(stack, model.n, axis)
    if planes not in PLANES:
        raise ValueError(f"planes={planes!r} should be one of {PLANES}")


def restore_file(
    model: nn.Module,
    source: str | Path | np.ndarray,
    out_path: str | Path,
    axis: int = 0,
    planes: str = "both",
    *,
    measured: Sequence[bool] | None = None,
    phases: tuple[float, ...] | None = None,
    voxel_size: tuple[float | None, ...] | None = None,
    progress: bool | None = None,
) -> Path:
    """The same from file to file; neither volume is ever in memory whole.

    It works through slabs of sections, with as many neighbours as the network sees, so the voxels
    are those of :func:`restore`. An interrupted call goes on when it is made again.

    Args:
        model, axis, planes, measured, phases: As in :func:`restore`.
        source: A file that :func:`srlib.data.io.read` reads, or an open volume.
        out_path: As in :func:`srlib.data.io.write`; appears only when complete.
        voxel_size: Micrometres of a voxel of the sections, the spacing along ``axis``; None for
            what the file says. The output has its ``n``-th part along the depth.
        progress: Show a bar.

    Raises:
        ValueError: if the input does not fit, or a later run has taken over the same output.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    out_path = Path(out_path)
    stack: Any = source
    if isinstance(source, str | Path):
        image = io.read(source)
        stack, voxel_size = image.values, voxel_size or image.voxel_size
        io.check_output(Path(source).resolve(), out_path)
    _check(model, stack, axis, planes)
    partial, noted = io.beside(out_path)
    key = _key(model, None, ())
    description = f"srlib depth: n={spacing(model):g}, network {key[:16]}"
    fill: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None
    n, count = spacing(model), stack.shape[axis]
    if not phases:
        check_grey(stack, axis)
        fill = find_fill(stack, axis)
        limits = grey_limits(stack, axis, fill=fill)
    sides = [size for a, size in enumerate(stack.shape) if a != axis]
    blocks = [[*range(0, size, BLOCK if size > 1.5 * BLOCK else size)] for size in sides]
    area = math.prod(
        min(size, b[1] if len(b) > 1 else size) for size, b in zip(sides, blocks, strict=True)
    )
    rows = max(1, int(SLAB // (n * area)))
    slabs = list(enumerate(range(0, count, rows)))
    deep = plane_count(count, n)
    shape = tuple(deep if a == axis else size for a, size in enumerate(stack.shape))
    how = (axis, planes, rows, limits, fill, n, measured, phases)
    journal = Journal(noted, _key(model, stack, how))
    if not partial.exists():
        journal.done.clear()
    left = [(number, first) for number, first in slabs if number not in journal.done]

    def work(out: Any) -> Iterator[int]:
        corners = list(product(*blocks))
        done = (len(slabs) - len(left)) * len(corners)
        total = len(slabs) * len(corners)
        bar = tqdm(desc="restoring", disable=progress is False, initial=done, total=total)
        margin = model.reach + (n != model.n)
        for number, first in left:
            low, high = max(0, first - margin), min(count, first + rows + margin)
            last = min(count, first + rows)
            part = _Part(low, math.ceil(first * n), deep if last == count else math.ceil(last * n))
            here = None if measured is None else measured[low:high]
            for corner in corners:
                target, read, inner = _block(corner, sides, blocks, _sideways(model))
                read.insert(axis, slice(low, high))
                target.insert(axis, slice(part.first, part.last))
                inner.insert(axis, slice(None))
                seen = np.asarray(stack[tuple(read)])
                how = (limits, fill, here, phases, False)
                made = restore_part(model, seen, part, axis, planes, *how)
                out[tuple(target)] = made[tuple(inner)]
                bar.update()
            yield number
        bar.close()

    with io.finishing(out_path, partial, journal):
        if not journal.done:
            fine = [s and s / n if a == axis else s for a, s in enumerate(voxel_size or ())]
            name = stack.dtype.str
            io.create(partial, shape, math.ceil(rows * n), name, tuple(fine), description)
        out = io.reopen(partial, shape)
        journal.follow(work(out), getattr(out, "flush", None))
    return out_path


def _sideways(model: nn.Module) -> int:
    """Pixels along a section to the farthest one that an output depends on."""
    if "kernels" in model.config:
        return sum(k // 2 for k in model.config["kernels"])
    return (2 * model.config["blocks"] + 2) * (model.config["kernel"][1] // 2)


def _block(
    corner: tuple[int, ...], sides: list[int], blocks: list[list[int]], halo: int
) -> tuple[list[slice], list[slice], list[slice]]:
    """Slices of a block of sections: in the whole, with its halo, and in that."""
    target, read, inner = [], [], []
    for first, size, firsts in zip(corner, sides, blocks, strict=True):
        last = min([f for f in firsts if f > first] or [size])
        low, high = max(0, first - halo), min(size, last + halo)
        target.append(slice(first, last))
        read.append(slice(low, high))
        inner.append(slice(first - low, last - low))
    return target, read, inner


def expected(
    model: nn.Module,
    stack: np.ndarray,
    numbers: Sequence[int],
    axis: int = 0,
    *,
    fill: tuple[float, ...] = (),
    limits: tuple[float, float] = (0.0, 1.0),
    phases: tuple[float, ...] | None = None,
) -> dict[str, float]:
    """How well a network restores sections that were decimated along one of their own axes.

    What is left out there is known, so no truth is needed. It tells what to expect along the depth
    if the material is alike in all directions. Name sections that the network did not learn from.

    Args:
        model: Of :func:`srlib.training.fit_depth`.
        stack: Sections, three axes.
        numbers: Sections to restore; of large ones the middle.
        axis: The depth.
        fill, limits, phases: As in :func:`restore`.

    Returns:
        Decibels of ``"network"``, ``"cubic"`` and ``"linear"`` interpolation, all planes together:
        20 log10 of the range of the limits over the root mean square error, or for labels of 1 over
        the share of voxels with another label; and ``"first axis"`` and ``"second axis"``, what the
        network is better than the cubic along each axis of a section.
    """
    n, stretch, read = model.n, model.n / spacing(model), reader(stack, axis)
    errors, count = np.zeros((2, 3)), np.zeros(2)
    for k in numbers:
        for side in (0, 1):
            section = read(k)
            section = section[middle(section.shape, TRIED)]
            section = section if side == 0 else section.T
            rows = int((len(section) - 1) * stretch + 1) // n * n
            if rows < 5 * n:
                continue
            found, use = _decimated(model, section, rows, stretch, fill, limits, phases)
            inner = use[2 * n : -2 * n]
            errors[side] += [(e[2 * n : -2 * n] * inner).sum() for e in found]
            count[side] += inner.sum()
    if not count.all():
        raise ValueError(f"the sections are too few or too small to try n={n} on them")

    def db(error: np.ndarray, many: np.ndarray) -> np.ndarray:
        return -(20 if phases else 10) * np.log10(np.maximum(error / many, 1e-12))

    total = dict(zip(("network", "cubic", "linear"), db(errors.sum(0), count.sum()), strict=True))
    better = db(errors[:, 0], count) - db(errors[:, 1], count)
    total |= {"first axis": better[0], "second axis": better[1]}
    return {name: float(value) for name, value in total.items()}


def _decimated(
    model: nn.Module,
    section: np.ndarray,
    rows: int,
    stretch: float,
    fill: tuple[float, ...],
    limits: tuple[float, float],
    phases: tuple[float, ...] | None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Errors of the network, cubic and linear on one section, and which voxels count."""
    n, device = model.n, next(model.parameters()).device

    def ways(grey: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        truth = grey[:rows] if stretch == 1 else stretched(grey, rows, stretch)
        few = np.ascontiguousarray(truth[n // 2 :: n])
        with torch.inference_mode(), autocast(device):
            made = model(torch.from_numpy(few)[None, None].to(device))[0, 0].float().cpu().numpy()
        plain = [weights(len(few), n, how).astype(np.float32) @ few for how in ("cubic", "linear")]
        return truth, [made, *plain]

    if phases:
        same = [(section == p).astype(np.float32) for p in phases]
        truths, found = zip(*(ways(2 * one - 1) for one in same), strict=True)
        truth = np.argmax(truths, 0)
        return [np.argmax(way, 0) != truth for way in zip(*found, strict=True)], np.ones(
            truth.shape
        )
    low, high = limits
    mask = fill_mask(section, fill)
    grey = replace_fill(section, mask).astype(np.float32)
    truth, found = ways((grey - np.float32((low + high) / 2)) * np.float32(2 / (high - low)))
    share = mask.astype(np.float32)
    use = share[:rows] if stretch == 1 else stretched(share, rows, stretch)
    return [np.square((way - truth) / 2) for way in found], use < 0.01


def _key(model: nn.Module, stack: Any, how: tuple) -> str:
    """A name for all that decides about the voxels; reads the whole input for it, if there is."""
    shape = None if stack is None else stack.shape
    found = hashlib.sha256(repr((type(model).__name__, model.config, shape, how)).encode())
    for tensor in model.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    for start in range(0, shape[0] if shape else 0, 8):
        found.update(np.ascontiguousarray(stack[start : start + 8]).data)
    return found.hexdigest()
