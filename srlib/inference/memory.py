"""Peak memory of a computation, known before it is allocated.

The very code is run on tensors without data, and what is alive is added up after every operation.
So the forward pass, what it keeps for the backward one, the second derivatives of a gradient
penalty, recomputed layers, optimisers and number formats all count as they are. What operations
take for themselves is known of the gradients of convolutions only.
"""

import weakref
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from srlib.inference.interpolation import most_likely
from srlib.physics.downsampling import exact_scale
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


def kept(model: nn.Module, inner: tuple[slice, ...], shape: Sequence[int]) -> tuple[slice, ...]:
    """What the layers on finer grids need of a tile with its halo, ``shape``, for ``inner``."""
    reach, ends = model.halo - model.coarse_halo, zip(inner, shape, strict=True)
    return tuple(slice(max(k.start - reach, 0), min(k.stop + reach, n)) for k, n in ends)


def of_inference(
    model: nn.Module, lr_shape: tuple[int, ...], tile: int | None = None, crop: int = 1
) -> int:
    """Peak memory to super-resolve one tile, in bytes; the output array does not count.

    Args:
        model: A generator, as for :func:`srlib.inference.superres.superres`.
        lr_shape: Of the coarse volume, ``(D, H, W)``; it need not exist.
        tile, crop: As in :func:`srlib.inference.tiling.tile_at`.
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


REAL = 2**25  # bytes; what is made of less real data, without chance, is made: a cache may keep it
BLOCK = 16  # channels that oneDNN works on at once
aten = torch.ops.aten


class Ghost(Tensor):
    """A tensor without data that says it is on a device: autocast and the models believe it."""

    meta: Tensor

    @staticmethod
    def __new__(cls, meta: Tensor, device: torch.device) -> "Ghost":
        layout = meta.shape, meta.stride(), meta.storage_offset()
        ghost = Tensor._make_wrapper_subclass(cls, *layout, dtype=meta.dtype, device=device)
        ghost.meta = meta
        return ghost

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # the stub has no class method
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> NoReturn:
        raise RuntimeError("a tensor without data has left the work whose memory was predicted")


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_iter(tree) if isinstance(x, Tensor)]


def _scratch(operation: Any, args: tuple) -> int:
    """Bytes that the gradients of a convolution take on a CPU: copies in blocks of 16 channels."""
    if operation is not aten.convolution_backward.default or args[0].device.type != "cpu":
        return 0
    return sum(x.nbytes // x.shape[1] * (x.shape[1] + -x.shape[1] % BLOCK) for x in args[:2])


class Live(TorchDispatchMode):
    """Runs operations on ghosts, and adds up the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now, self.peak = 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        inputs = _tensors((args, kwargs))
        for x in inputs:
            if not isinstance(x, Ghost):
                self.count(x, 0)  # real data from outside of the work
        out = self.run(operation, args, kwargs or {}, inputs)
        for x in _tensors(out):
            self.count(x)
        self.peak = max(self.peak, self.now + _scratch(operation, args))
        return out

    def run(self, operation: Any, args: tuple, kwargs: dict, inputs: list[Tensor]) -> Any:
        """The result of an operation: real if it is of little real data, and not of chance."""
        ghosts = [x for x in inputs if isinstance(x, Ghost)]
        little = not ghosts and 0 < sum(x.nbytes for x in inputs) < REAL
        if little or operation.namespace != "aten":
            return operation(*args, **kwargs)
        if operation in (aten._local_scalar_dense.default, aten.equal.default):
            return 1.0  # a loss to be logged, or compared with its gate; a check that passes
        if inputs:
            device = (ghosts or inputs)[0].device
        else:
            device = torch.device(kwargs.get("device") or "cpu")
        if operation is aten.bincount.default:  # its size depends on the data
            return Ghost(torch.empty(args[2], dtype=torch.int64, device="meta"), device)
        return self.without_data(operation, args, kwargs, inputs, device)

    def without_data(
        self,
        operation: Any,
        args: tuple,
        kwargs: dict,
        inputs: list[Tensor],
        device: torch.device,
    ) -> Any:
        """The result of an operation as its shape alone, if it is large or of chance."""
        known: dict[Tensor, Tensor] = {}

        def lower(x: Any) -> Any:
            if isinstance(x, torch.Generator):
                return None
            if not isinstance(x, Tensor):
                return x
            if isinstance(x, Ghost):
                meta = x.meta
            else:
                meta = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
            known[meta] = x
            return meta

        def lift(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return known[x] if x in known else Ghost(x, device)  # in place, or new

        place = {"device": "meta"} if "device" in kwargs or not inputs else {}
        out = operation(*tree_map(lower, args), **(tree_map(lower, kwargs) | place))
        chance = torch.Tag.nondeterministic_seeded in operation.tags or "empty" in operation.name()
        if not inputs and out.nbytes < REAL and not (chance and out.is_floating_point()):
            return operation(*args, **kwargs)
        return tree_map(lift, out)

    def count(self, x: Tensor, size: int | None = None) -> None:
        storage = (x.meta if isinstance(x, Ghost) else x).untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes() if size is None else size
            self.now += self.sizes[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.drop, key)

    def drop(self, key: int) -> None:
        self.now -= self.sizes.pop(key)
