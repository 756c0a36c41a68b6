"""Peak memory of a computation, known before it is allocated.

The very code is run on tensors without data, and what is alive is added up after every operation.
So the forward pass, what it keeps for the backward one, the second derivatives of a gradient
penalty, recomputed layers, optimisers and number formats all count as they are. What operations
take for themselves is known of the gradients of convolutions only.
"""

from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from torch import nn

from srlib.degrade import exact_scale
from srlib.ghost import Live
from srlib.interpolation import most_likely
from srlib.precision import autocast

TILE = 128  # fine voxels an edge
NOISE = 32  # bytes a voxel while noise is made
CGROUP = Path("/sys/fs/cgroup")


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that are taken at once by the tensors that ``work`` makes.

    What ``work`` makes by chance or with :func:`torch.empty`, and what follows from it, has no
    data. Tensors from outside are not changed and do not count. Gradients without data may come to
    hang on parameters, so hand over networks that are not used otherwise.

    Args:
        work: Function without arguments. It may make tensors, run networks and ask for gradients;
            a number that it takes out of a tensor is 1.

    Returns:
        Bytes. A real run takes up to a fifth more, for what operations need inside and for gaps;
        recomputed layers of small windows up to two fifths.

    Raises:
        NotImplementedError: if the size of a result would depend on the data.
    """
    with Live() as live:
        work()
    return live.peak


def tile_edge(model: nn.Module, tile: int | None = None) -> int:
    """Coarse voxels an edge of a tile; None for 128 fine ones."""
    scale = exact_scale(model.scale_factor)
    return int(tile or scale.denominator * max(1, TILE // scale.numerator))


def kept(model: nn.Module, inner: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """What the layers on finer grids need of a tile with its halo, ``shape``, for ``inner``."""
    reach, ends = model.halo - model.coarse_halo, zip(inner, shape, strict=True)
    return tuple(slice(max(k.start - reach, 0), min(k.stop + reach, n)) for k, n in ends)


def of_inference(
    model: nn.Module, lr_shape: tuple[int, ...], tile: int | None = None, crop: int = 1
) -> int:
    """Peak memory to super-resolve one tile, in bytes; the output array does not count.

    Args:
        model: A generator, as for :func:`srlib.infer.superres`.
        lr_shape: Of the coarse volume, ``(D, H, W)``; it need not exist.
        tile, crop: As in :func:`srlib.infer.tile_at`.
    """
    edge, device = tile_edge(model, tile), next(model.parameters()).device
    edges = [min(edge, n - 2 * crop) for n in lr_shape]
    shape = [min(e + 2 * model.halo, n) for e, n in zip(edges, lr_shape, strict=True)]
    inner = tuple(slice((n - e) // 2, (n + e) // 2) for e, n in zip(edges, shape, strict=True))
    noise = 0

    def work() -> None:
        nonlocal noise
        x = torch.empty((1, model.n_lr + model.noise_channels, *shape), device=device)
        noise = NOISE * model.noise_channels * prod(shape)
        extra = ()
        if getattr(model, "coarse_halo", 0):
            keep, z = kept(model, inner, shape), None
            if getattr(model, "fine_noise", False):
                size = [model.grid * (k.stop - k.start) for k in keep]
                z, noise = torch.empty((1, 1, *size), device=device), NOISE * prod(size)
            extra = keep, z, inner
        with torch.no_grad(), autocast(device):
            most_likely(model.logits(x, *extra))

    training = model.training
    model.eval()
    try:
        return max(peak_bytes(work), noise)
    finally:
        model.train(training)


def available_bytes(device: str | torch.device = "cpu") -> int | None:
    """Memory that can still be had on a device, in bytes; None if that is not known."""
    if torch.device(device).type == "cuda":
        mine = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + mine
    if not Path("/proc/meminfo").exists():
        try:
            import psutil
        except ImportError:
            return None
        return psutil.virtual_memory().available
    found = 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    try:  # a container may have less than the machine
        limit = int((CGROUP / "memory.max").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        used = int((CGROUP / "memory.current").read_text()) - int(stat["inactive_file"])
    except (OSError, ValueError):
        return found
    return min(found, limit - used)


def check(needed: int, what: str, remedy: str, device: str | torch.device = "cpu") -> None:
    """Raise a MemoryError that says what to change if there is less memory than needed.

    Args:
        needed: Bytes.
        what: What needs it, such as ``"a tile of 16 coarse voxels"``.
        remedy: What to change.
        device: Where.

    Raises:
        MemoryError: if so many bytes are not available.
    """
    there = available_bytes(device)
    if there is not None and needed > there:
        raise MemoryError(
            f"{what} needs {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are available: {remedy}"
        )
