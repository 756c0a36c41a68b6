"""Super-resolve a volume of any size, or make one from noise."""

import numpy as np
from torch import nn

from srlib.inference.tiling import check_memory, check_volume, output_shape, tiles


def superres(
    model: nn.Module,
    lr: np.ndarray,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    period: tuple[int, ...] | None = None,
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

    Example:
        >>> from srlib import datasets, models
        >>> from srlib.inference.superres import superres
        >>> case = datasets.load("case3", source="twin", edge=64)
        >>> model = models.load("case3-twin-0")
        >>> superres(model, case.lr[:6, :6, :6]).shape  # 4 * (6 - 2) along each axis
        (16, 16, 16)
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

    Example:
        >>> from srlib import models
        >>> from srlib.inference.superres import generate
        >>> model = models.SuperResLite(n_lr=0, n_phases=2, width=8)  # not trained yet
        >>> generate(model, (16, 16, 16)).shape
        (16, 16, 16)
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
