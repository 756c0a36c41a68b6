"""Apply a trained generator to a volume of any size, tile by tile, without seams.

A tile is computed with the coarse voxels around it that can change it (the generator's halo), and
noise depends on seed and position alone. So the tiles of any size make the same volume.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri
from torch import nn
from tqdm.std import tqdm

from srlib.data.sampling import one_hot
from srlib.inference import memory
from srlib.inference.interpolation import most_likely
from srlib.inference.memory import kept, tile_edge
from srlib.physics.downsampling import exact_scale
from srlib.precision import autocast

FINE = 1 << 62  # sets the seed of noise on the fine grid apart
ROOM = 2000  # bytes a fine voxel of a tile; where there are twice as many, it fits


def check_volume(model: nn.Module, shape: tuple[int, ...], crop: int, tile: int | None) -> None:
    """Raise what is wrong with a model, a volume and the way to cut it, before any work."""
    for name in ("scale_factor", "n_lr", "noise_channels", "halo"):
        if not hasattr(model, name):
            raise ValueError(f"the model has no {name}: load or train one with srlib")
    whole = int(model.scale_factor) == model.scale_factor
    if not whole and not hasattr(model, "grid"):
        raise ValueError(
            f"tiles of this network need a whole scale factor, not {model.scale_factor}: call the "
            "model itself"
        )
    check_cuts(exact_scale(model.scale_factor).denominator, model.scale_factor, shape, crop, tile)


def check_cuts(
    step: int, scale_factor: float, shape: tuple[int, ...], crop: int, tile: int | None
) -> None:
    """Raise a ValueError if a volume cannot be cut this way into multiples of ``step`` voxels."""
    if len(shape) != 3:
        raise ValueError(f"the coarse volume must be (D, H, W), not of shape {tuple(shape)}")
    for name, value, least in (("crop", crop, 0), ("tile", 1 if tile is None else tile, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of coarse voxels, not {value!r}")
    if min(shape) <= 2 * crop:
        raise ValueError(
            f"a volume of shape {tuple(shape)} is gone after cutting {crop} voxels from each face: "
            "use a larger one, or crop=0"
        )
    if any((n - 2 * crop) % step for n in shape) or (tile or step) % step:
        raise ValueError(
            f"at scale factor {scale_factor} tiles, and what is left of the volume after "
            f"cutting {crop} from each face, must be multiples of {step} coarse voxels, not "
            f"{tile or 'the default'} and {tuple(shape)} - {2 * crop}: cut the volume to that"
        )


def corners(shape: tuple[int, ...], tile: int, crop: int = 1) -> list[tuple]:
    """First coarse voxel (z, y, x) of every tile of a volume, in the order of :func:`tiles`."""
    starts = [range(crop, n - crop, tile) for n in shape]
    return [(z, y, x) for z in starts[0] for y in starts[1] for x in starts[2]]


def check_labels(model: nn.Module, part: np.ndarray) -> None:
    """Raise a ValueError if a part of a coarse volume holds what the model does not know."""
    if model.n_lr and (part.dtype != np.uint8 or part.max() >= model.n_lr):
        raise ValueError(
            f"the coarse volume must hold uint8 phases 0 to {model.n_lr - 1} for this "
            f"model, not {part.dtype} up to {part.max()}: see srlib.data.encode_labels"
        )


def tile_at(
    model: nn.Module,
    lr: Any,
    corner: tuple[int, ...],
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, ...] | None = None,
) -> tuple[tuple[slice, ...], np.ndarray]:
    """One super-resolved tile of a coarse volume; it needs none of the others.

    Args:
        model: Trained generator.
        lr: Coarse phases ``(D, H, W)``: an array, or anything that is sliced like one (memory map,
            zarr array), of which only the tile and its halo are read.
        corner: Where the tile starts, one of :func:`corners`.
        seed: Of the noise.
        tile: Coarse voxels an edge of a tile; None for 128 fine ones. More is faster and takes more
            memory.
        crop: Coarse voxels left out at each face of the volume (SuperRes, section 3: 1).
        period: Of the noise, see :func:`position_noise`.

    Returns:
        Where the tile belongs in the output, and its phases ``uint8``.

    Raises:
        ValueError: if the tile holds phases that the model does not know.
    """
    tile, halo, s = tile_edge(model, tile), model.halo, exact_scale(model.scale_factor)
    device = next(model.parameters()).device
    stop = [min(c + tile, n - crop) for c, n in zip(corner, lr.shape, strict=True)]
    low = [max(c - halo, 0) for c in corner]
    high = [min(c + halo, n) for c, n in zip(stop, lr.shape, strict=True)]
    part = np.array(lr[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    check_labels(model, part)
    noise = position_noise(seed, model.noise_channels, tuple(low), part.shape, period)
    x = torch.cat([one_hot(part, model.n_lr), torch.from_numpy(noise)])[None].to(device)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    inner = tuple(slice(c - a, b - a) for c, b, a in zip(corner, stop, low, strict=True))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device):
            if getattr(model, "coarse_halo", 0):
                labels = most_likely(model.logits(x, *_kept(model, inner, low, seed, period, x)))
            else:
                fine = (slice(int(s * k.start), int(s * k.stop)) for k in inner)
                labels = most_likely(model.logits(x))[tuple(fine)]
    finally:
        model.train(training)
    ends = zip(corner, stop, strict=True)
    where = [slice(int(s * (c - crop)), int(s * (b - crop))) for c, b in ends]
    return tuple(where), labels.cpu().numpy()


def bar(steps: Iterable, lr_shape: tuple[int, ...], progress: bool | None, **options: Any) -> tqdm:
    """A progress bar over tiles; None shows it only when there is more than a moment's work."""
    quiet = np.prod(lr_shape) < 100_000 if progress is None else not progress
    return tqdm(steps, desc="super-resolving", disable=quiet, mininterval=1, **options)


def tiles(
    model: nn.Module,
    lr: Any,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, ...] | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Super-resolved tiles of a coarse volume, one after the other.

    Args:
        model, lr, seed, tile, crop, period: As in :func:`tile_at`.
        progress: Show a bar; None for only when there is more than a moment's work.

    Yields:
        Where the tile belongs in the output, and its phases ``uint8``.

    Raises:
        ValueError: if the volume does not fit the model.
    """
    check_volume(model, lr.shape, crop, tile)
    for corner in bar(corners(lr.shape, tile_edge(model, tile), crop), lr.shape, progress):
        yield tile_at(model, lr, corner, seed, tile, crop, period)


def _kept(
    model: nn.Module,
    inner: tuple[slice, ...],
    low: list[int],
    seed: int,
    period: tuple[int, ...] | None,
    x: torch.Tensor,
) -> tuple:
    """What else :meth:`SuperResLite.logits` needs to make the inner part of a tile."""
    keep, f = kept(model, inner, x.shape[2:]), model.grid
    if not getattr(model, "fine_noise", False):
        return keep, None, inner
    start = [f * (a + k.start) for a, k in zip(low, keep, strict=True)]
    size = [f * (k.stop - k.start) for k in keep]
    fine = tuple(f * n for n in period) if period else None
    noise = position_noise(seed ^ FINE, 1, start, size, fine, True)
    return keep, torch.from_numpy(noise)[None].to(x.device), inner


def output_shape(model: nn.Module, lr_shape: tuple[int, ...], crop: int = 1) -> tuple[int, ...]:
    """Shape of the super-resolved volume."""
    return tuple(int(exact_scale(model.scale_factor) * (n - 2 * crop)) for n in lr_shape)


def check_memory(
    model: nn.Module,
    lr_shape: tuple[int, ...],
    tile: int | None = None,
    crop: int = 1,
    whole: bool = True,
) -> None:
    """Raise a MemoryError, before any work, if the output or a tile of it does not fit.

    Args:
        model, tile, crop: As in :func:`tile_at`.
        lr_shape: Of the coarse volume, ``(D, H, W)``.
        whole: The output is in memory, too, not in a file.
    """
    device, shape = next(model.parameters()).device, output_shape(model, lr_shape, crop)
    edge, out = tile_edge(model, tile), prod(shape) if whole else 0
    remedy = "cut the volume, or write it to a file with srlib.inference.streaming.superres_to_file"
    memory.check(out, f"an output of {shape} voxels", remedy)
    reach = model.halo - getattr(model, "coarse_halo", 0)
    voxels = prod(model.scale_factor * min(edge + 2 * reach, n) for n in lr_shape)
    there = memory.available_bytes(device)
    if there is None or 2 * ROOM * voxels + out < there:
        return
    try:
        needed = memory.of_inference(model, lr_shape, tile, crop)
    except RuntimeError:  # a network whose memory cannot be told is tried
        return
    what = f"a tile of {edge} coarse voxels an edge"
    if device.type == "cpu" and whole:
        needed, what = needed + out, f"{what}, with the output,"
    memory.check(needed, what, "use a smaller tile", device)


def _scramble(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers without visible pattern (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def position_noise(
    seed: int,
    channels: int,
    start: Sequence[int],
    shape: Sequence[int],
    period: tuple[int, ...] | None = None,
    uniform: bool = False,
) -> np.ndarray:
    """Noise of mean 0 and variance 1 that depends on seed, channel and position only.

    Args:
        seed: Another seed, another noise field.
        channels: Number of channels C.
        start: Position (z, y, x) of the first voxel.
        shape: Size (D, H, W) of the part to make.
        period: Repeat after so many voxels along each axis (SuperRes, section 4.1).
        uniform: Uniform between plus and minus the root of 3, several times faster than normal.

    Returns:
        ``float32`` ``(C, D, H, W)``.
    """
    key = np.arange(channels, dtype=np.uint64).reshape(-1, 1, 1, 1)
    key = _scramble(key + _scramble(np.array([int(seed) % 2**63], np.uint64) + np.uint64(1)))
    for axis, (first, n) in enumerate(zip(start, shape, strict=True)):
        index = np.arange(first, first + n)
        index = (index % period[axis] if period else index).astype(np.uint64)
        index = index.reshape([-1 if a == axis + 1 else 1 for a in range(4)])
        key = _scramble(key + _scramble(index + np.uint64(0x9E3779B97F4A7C15)))
    if uniform:
        return ((key >> np.uint64(40)).astype(np.float32) - 2**23) * np.float32(3**0.5 / 2**23)
    return ndtri(((key >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52).astype(np.float32)
