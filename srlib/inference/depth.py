"""Give a stack of sections the planes between them: in memory, or from file to file (FIB-SEM).

    srlib depth stack.tif fine.tif --n 8

trains on the sections of the stack itself, in minutes, and restores it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.std import tqdm

from srlib.data import io
from srlib.data.normalization import grey_limits
from srlib.inference.journal import Journal
from srlib.physics.sectioning import check_stack
from srlib.precision import autocast

PLANES = ("both", "xz", "yz")
AT_ONCE = 2**17  # pixels of sections that the network sees at once
SLAB = 2**25  # voxels of a piece of a file


def restore(
    model: nn.Module,
    stack: np.ndarray,
    axis: int = 0,
    planes: str = "both",
    *,
    limits: tuple[float, float] | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """All planes of a stack of which one in ``n`` was measured.

    The network sees the planes that hold the depth and one of the other two axes, xz and yz, and
    the two volumes that it makes of them are averaged (FIB-SEM, Methods; how the paper joins them
    it does not say, GAP-39). Measured sections stay as they are.

    Args:
        model: Of :func:`srlib.training.fit_depth`, for this n.
        stack: Sections, three axes, grey values of any kind.
        axis: The depth.
        planes: ``"both"``, or only those with the last (``"xz"``) or the first (``"yz"``) of the
            other two axes.
        limits: Grey values that are -1 and 1 to the network; None for the stack's own
            (:func:`srlib.data.normalization.grey_limits`).
        progress: Show a bar; None for only when there is more than a moment's work.

    Returns:
        ``n`` times as many planes along ``axis``, of the kind of ``stack``; whole numbers are
        rounded and stay in its range.

    Raises:
        ValueError: if the model is none for sections, or for what is no finite stack.
    """
    _check(model, stack, axis, planes)
    low, high = grey_limits(stack, axis) if limits is None else limits
    moved = np.moveaxis(stack, axis, 0)
    if not np.isfinite(moved).all():
        raise ValueError("the stack holds NaN or infinite values: fill them first")
    scaled = (moved.astype(np.float32) - (low + high) / 2) / ((high - low) / 2)
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
    found = (out / len(turns)).numpy() * ((high - low) / 2) + (low + high) / 2
    if stack.dtype.kind in "ui":
        ends = np.iinfo(stack.dtype)
        found = np.rint(np.clip(found, ends.min, ends.max))
    found = found.astype(stack.dtype)
    found[model.n // 2 :: model.n] = moved
    return np.moveaxis(found, 0, axis)


def _check(model: nn.Module, stack: np.ndarray, axis: int, planes: str = "both") -> None:
    if not hasattr(model, "n") or not hasattr(model, "reach"):
        raise ValueError(f"a {type(model).__name__} restores no depth: give one of fit_depth")
    check_stack(stack, model.n, axis)
    if planes not in PLANES:
        raise ValueError(f"planes={planes!r} should be one of {PLANES}")


def restore_file(
    model: nn.Module,
    path: str | Path,
    out_path: str | Path,
    axis: int = 0,
    planes: str = "both",
    *,
    progress: bool | None = None,
) -> Path:
    """The same from file to file; neither volume is ever in memory whole.

    It works through slabs of sections, with as many neighbours as the network sees, so the voxels
    are those of :func:`restore`. An interrupted call goes on when it is made again.

    Args:
        model, axis, planes: As in :func:`restore`.
        path: An uncompressed TIFF stack, or a zarr array.
        out_path: ``.tif`` or ``.zarr``; appears only when complete.
        progress: Show a bar.

    Raises:
        ValueError: if the input does not fit, or a later run has taken over the same output.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    stack, path, out_path = io.read(path).values, Path(path).resolve(), Path(out_path)
    _check(model, stack, axis, planes)
    io.check_output(path, out_path)
    partial, noted = io.beside(out_path)
    limits, n, count = grey_limits(stack, axis), model.n, stack.shape[axis]
    rows = max(1, SLAB // (n * stack.size // count))
    slabs = list(enumerate(range(0, count, rows)))
    shape = tuple(size * (n if a == axis else 1) for a, size in enumerate(stack.shape))
    journal = Journal(noted, _key(model, stack, (axis, planes, rows, limits)))
    if not partial.exists():
        journal.done.clear()
    left = [(number, first) for number, first in slabs if number not in journal.done]

    def along(a: int, b: int) -> tuple[slice, ...]:
        return (slice(None),) * axis + (slice(a, b),)

    def work(out) -> Iterator[int]:
        bar = tqdm(
            left,
            "restoring",
            disable=progress is False,
            initial=len(slabs) - len(left),
            total=len(slabs),
        )
        for number, first in bar:
            low, last = max(0, first - model.reach), min(count, first + rows)
            part = np.asarray(stack[along(low, last + model.reach)])
            found = restore(model, part, axis, planes, limits=limits, progress=False)
            inner = found[along(n * (first - low), n * (last - low))]
            out[along(n * first, n * last)] = inner
            yield number

    with io.finishing(out_path, partial, journal):
        if not journal.done:
            io.create(partial, shape, rows * n, stack.dtype.str)
        out = io.reopen(partial, shape)
        journal.follow(work(out), getattr(out, "flush", None))
    return out_path


def _key(model: nn.Module, stack, how: tuple) -> str:
    """A name for all that decides about the voxels; reads the whole input for it."""
    found = hashlib.sha256(repr((type(model).__name__, model.config, stack.shape, how)).encode())
    for tensor in model.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    for start in range(0, stack.shape[0], 32):
        found.update(np.ascontiguousarray(stack[start : start + 32]))
    return found.hexdigest()
