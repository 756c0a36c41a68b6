"""Apply a trained generator to a volume of any size, tile by tile, without seams.

A tile is computed with the coarse voxels around it that can change it (the generator's halo), and
noise depends on seed and position alone. So the tiles of any size make the same volume.
"""

from collections.abc import Iterable, Iterator
from math import prod

import numpy as np
import torch
from torch import nn
from tqdm.std import tqdm

from srlib import memory
from srlib.data import one_hot
from srlib.degrade import exact_scale
from srlib.interpolation import interpolate, most_likely  # noqa: F401 (belong to this interface)
from srlib.memory import kept, tile_edge
from srlib.noise import position_noise
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
    step = exact_scale(model.scale_factor).denominator
    if any((n - 2 * crop) % step for n in shape) or (tile or step) % step:
        raise ValueError(
            f"at scale factor {model.scale_factor} tiles, and what is left of the volume after "
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
    lr,
    corner: tuple[int, int, int],
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, int, int] | None = None,
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
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


def bar(steps: Iterable, lr_shape: tuple[int, ...], progress: bool | None, **options) -> tqdm:
    """A progress bar over tiles; None shows it only when there is more than a moment's work."""
    quiet = np.prod(lr_shape) < 100_000 if progress is None else not progress
    return tqdm(steps, desc="super-resolving", disable=quiet, mininterval=1, **options)


def tiles(
    model: nn.Module,
    lr,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, int, int] | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
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


def _kept(model: nn.Module, inner: tuple, low: list[int], seed: int, period, x) -> tuple:
    """What else :meth:`LaptopGenerator.logits` needs to make the inner part of a tile."""
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
    remedy = "cut the volume, or write it to a file with srlib.stream.superres_to_file"
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


def superres(
    model: nn.Module,
    lr: np.ndarray,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, int, int] | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """Super-resolve a coarse volume in memory (SuperRes, Algorithm 1, return).

    The arguments are those of :func:`tiles`.

    Returns:
        Phases ``uint8``, shape ``scale_factor * (n - 2 * crop)`` along each axis. The same
        tile gives the same voxels on the same device; another tile may round otherwise, which
        decides a voxel in ten million or so.

    Raises:
        ValueError: if the volume does not fit the model.
        MemoryError: if the output, or a tile, does not fit into memory.
    """
    lr = lr if hasattr(lr, "shape") else np.asarray(lr)
    check_volume(model, lr.shape, crop, tile)
    check_memory(model, lr.shape, tile, crop)
    out = np.empty(output_shape(model, lr.shape, crop), np.uint8)
    for where, labels in tiles(model, lr, seed, tile, crop, period, progress):
        out[where] = labels
    return out


def generate(
    model: nn.Module,
    shape: tuple[int, int, int],
    seed: int = 0,
    periodic: bool = False,
    tile: int | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """A volume of any size from noise alone, for a model without coarse phases (SliceGAN).

    Args:
        model: Generator with ``n_lr = 0``.
        shape: (D, H, W) in voxels.
        seed: Of the noise.
        periodic: Make opposite faces fit; every size must then be a multiple of the model's
            scale factor.
        tile, progress: As in :func:`tiles`; a tile counts noise voxels.

    Returns:
        Phases ``uint8`` of that shape. Borders are like the inside.

    Raises:
        ValueError: if the model needs a coarse volume, or the shape does not fit.
    """
    if getattr(model, "n_lr", 1):
        raise ValueError("this model needs a coarse volume: use superres, or train one without lr")
    s = int(model.scale_factor)
    if len(shape) != 3 or min(shape) < 1 or (periodic and any(n % s for n in shape)):
        raise ValueError(f"shape must be three sizes, multiples of {s} if periodic, not {shape}")
    sizes = tuple(-(-n // s) for n in shape)
    nothing = np.broadcast_to(np.uint8(0), [n + 2 * model.halo for n in sizes])
    period = sizes if periodic else None
    out = superres(model, nothing, seed, tile, model.halo, period, progress)
    return out[tuple(slice(n) for n in shape)]
