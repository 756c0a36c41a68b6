"""A poor scan restored from file to file, on the finer grid of the good scan it was paired with."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.std import tqdm

from srlib.data import io
from srlib.data.fill import fill_mask, find_fill, replace_fill
from srlib.data.normalization import PAD, scaled, upscaled
from srlib.data.pairs import Pair
from srlib.inference import restoration
from srlib.inference.journal import Journal
from srlib.metrics import image_quality

SLAB = 2**22  # fine voxels of a piece of the output
TILE = 1024  # pixels; larger planes are restored in squares of this edge
JUDGED = 32  # planes
FITTED = 2**20  # voxels that gain and offset are fitted to
BEYOND = 0.2  # share of voxels beyond the limits of the training, from which on a scan is refused


def check_scan(model: nn.Module, volume: Any, fill: tuple[float, ...] | None = None) -> None:
    """Raise a ValueError if a network is for no scans, or has not learned such grey values.

    Args:
        model: With what ``srlib restore`` keeps of the training in ``.meta["scan"]``.
        volume: Grey values ``(D, H, W)``, an array or a file.
        fill: As in :func:`restore_scan`.
    """
    about = getattr(model, "meta", {}).get("scan")
    if about is None:
        raise ValueError("these weights are not of srlib restore: train some on a pair of scans")
    if volume.ndim != 3:
        raise ValueError(f"a scan has three axes, not the shape {tuple(volume.shape)}")
    fill = find_fill(volume) if fill is None else fill
    low, high = about["limits"]
    slack = 0.1 * (high - low)
    chosen = np.unique(np.linspace(0, len(volume) - 1, min(16, len(volume))).astype(int))
    planes = [np.asarray(volume[int(k)]) for k in chosen]
    values = np.concatenate([p[~fill_mask(p, fill)].astype(float) for p in planes])
    if not values.size:
        raise ValueError("the scan holds fill values only: there is nothing to restore")
    beyond = float(np.mean((values < low - slack) | (values > high + slack)))
    if beyond > BEYOND:
        raise ValueError(
            f"{beyond:.0%} of the scan are beyond the grey values {low:.5g} to {high:.5g} that the "
            "network has learned from: export it with the grey scale of that scan, or train anew"
        )


def restore_scan(
    model: nn.Module,
    volume: Any,
    out_path: str | Path,
    voxel_size: tuple[float | None, ...] | None = None,
    *,
    fill: tuple[float, ...] | None = None,
    description: str = "",
    progress: bool = True,
) -> Path:
    """Restore a scan plane by plane; neither volume is ever in memory whole.

    What was not measured stays so: a fine voxel within a fill voxel has the fill value. An
    interrupted call goes on when it is made again.

    Args:
        model: As in :func:`check_scan`.
        volume: Grey values ``(D, H, W)``, an array or a file.
        out_path: Where the result goes; it appears only when complete. It has the grey values and
            type of the good scan, and ``factor`` times as many voxels along each axis.
        voxel_size: Of the output, micrometres, if known.
        fill: Fill values of the volume; None to look for them.
        description: For the output.
        progress: Show a bar.

    Raises:
        ValueError: if the scan does not fit, or a later run has taken over the same output.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    out_path, fill = Path(out_path), find_fill(volume) if fill is None else fill
    check_scan(model, volume, fill)
    about = model.meta["scan"]
    factor, dtype = tuple(about["factor"]), np.dtype(about["dtype"])
    shape = tuple(n * f for n, f in zip(volume.shape, factor, strict=True))
    rows = max(1, SLAB // (shape[1] * shape[2] * factor[0]))
    starts = list(enumerate(range(0, volume.shape[0], rows)))
    partial, noted = io.beside(out_path)
    journal = Journal(noted, _key(model, volume, (rows, fill, voxel_size, description)))
    if not partial.exists():
        journal.done.clear()
    remaining = [(k, first) for k, first in starts if k not in journal.done]

    def work(out: Any) -> Iterator[int]:
        done = dict(initial=len(starts) - len(remaining), total=len(starts))
        for k, first in tqdm(remaining, "restoring", disable=not progress, **done):
            last = min(first + rows, volume.shape[0])
            out[first * factor[0] : last * factor[0]] = _piece(model, volume, first, last, fill)
            yield k

    with io.finishing(out_path, partial, journal):
        if not journal.done:
            edge = rows * factor[0]
            io.create(partial, shape, edge, dtype.str, voxel_size, description)
        out = io.reopen(partial, shape)
        journal.follow(work(out), getattr(out, "flush", None))
    return out_path


def judge(
    model: nn.Module, pair: Pair, train: tuple[slice, ...], judge: tuple[slice, ...]
) -> dict[str, tuple[float, float]]:
    """PSNR in dB and SSIM of a network and of interpolation, against the good scan.

    Interpolation is the poor scan on the fine grid, registered, with gain and offset fitted to the
    good scan on ``train``: it loses nothing to another grey scale or place. The peak of PSNR is the
    range of the limits.

    Args:
        model: As in :func:`check_scan`.
        pair: Both scans.
        train: The part that the network has learned from.
        judge: The part that it has not seen.
    """
    mask = np.broadcast_to(pair.mask, pair.hq.shape)
    seen = mask[train]
    low, high = (v[train][seen] for v in (pair.lq, pair.hq))
    step = -(-len(low) // FITTED)
    low, high = (v[::step].astype(float) for v in (low, high))
    gain = np.cov(low, high)[0, 1] / low.var()
    offset = high.mean() - gain * low.mean()
    planes = [k for k in range(len(pair.hq))[judge[0]] if mask[k][judge[1:]].any()]
    chosen = np.unique(np.linspace(0, len(planes) - 1, JUDGED).astype(int))
    errors: dict[str, float] = {}
    similar: dict[str, float] = {}
    weight = 0
    for k in (planes[i] for i in chosen):
        where, truth = mask[k][judge[1:]], pair.hq[k][judge[1:]]
        plain = (gain * pair.lq[k] + offset).clip(-1, 1).astype(np.float32)
        found = restoration.restore(model, pair.lq[k], model.meta["scan"]["steps"])
        weight += where.sum()
        for name, plane in (("cubic interpolation", plain), ("network", found)):
            part, n = np.ascontiguousarray(plane[judge[1:]]), float(where.sum())
            error = np.square(part - truth, dtype=float)[where].sum()
            errors[name] = errors.get(name, 0.0) + error
            similar[name] = similar.get(name, 0.0) + n * image_quality.ssim(part, truth, where)
    return {
        name: (float(10 * np.log10(4 * weight / errors[name])), float(similar[name] / weight))
        for name in errors
    }


def on_fine_grid(
    volume: Any, first: int, last: int, factor: tuple[int, ...], fill: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Planes ``first`` to ``last`` by cubic interpolation, and where nothing was measured."""
    begin, end = max(0, first - PAD), min(volume.shape[0], last + PAD)
    window = np.asarray(volume[begin:end])
    empty = np.stack([fill_mask(plane, fill) for plane in window])
    if empty.any():
        window = np.stack([replace_fill(p, m) for p, m in zip(window, empty, strict=True)])
        window = np.where(np.isfinite(window), window, 0)
    fine = upscaled(window.astype(np.float32), (factor[0], 1, 1))
    fine = fine[(first - begin) * factor[0] : (last - begin) * factor[0]]
    fine, empty = upscaled(fine, (1, *factor[1:])), empty[first - begin : last - begin]
    for axis, f in enumerate(factor):
        empty = empty.repeat(f, axis)
    return fine, empty


def _piece(model: nn.Module, volume: Any, first: int, last: int, fill: tuple) -> np.ndarray:
    """Planes ``first`` to ``last`` of the scan restored, in the type of the output."""
    about = model.meta["scan"]
    fine, empty = on_fine_grid(volume, first, last, tuple(about["factor"]), fill)
    fine = scaled(fine, about["limits"])
    tile = TILE if max(fine.shape[1:]) > 1.5 * TILE else None
    for k, plane in enumerate(fine):
        fine[k] = restoration.restore(model, plane, about["steps"], tile=tile)
    low, high = about["hq_limits"]
    return to_grey((fine + 1) / 2 * (high - low) + low, np.dtype(about["dtype"]), empty, fill)


def to_grey(
    values: np.ndarray, dtype: np.dtype, empty: np.ndarray, fill: tuple[float, ...]
) -> np.ndarray:
    """Grey values in their type; the first fill value, or NaN or 0, where nothing was measured."""
    if dtype.kind == "f":
        values = values.astype(dtype)
        values[empty] = fill[0] if fill else np.nan
        return values
    ends = np.iinfo(dtype)
    values = np.rint(np.clip(values.astype(np.float64), ends.min, ends.max)).astype(dtype)
    values[empty] = fill[0] if fill and ends.min <= fill[0] <= ends.max else max(ends.min, 0)
    return values


def _key(model: nn.Module, volume: Any, settings: tuple) -> str:
    """A name for all that decides about the voxels; reads the whole input for it."""
    about = repr((model.config, model.meta["scan"], volume.shape, str(volume.dtype), settings))
    key = hashlib.sha256(about.encode())
    for tensor in model.state_dict().values():
        key.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    for plane in volume:
        key.update(np.ascontiguousarray(plane).data)
    return key.hexdigest()
