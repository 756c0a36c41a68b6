"""Tensors without data, and what is alive of them."""

import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

REAL = 2**25  # bytes; what is made of less real data, without chance, is made: a cache may keep it
BLOCK = 16  # channels that oneDNN works on at once
aten = torch.ops.aten


class Ghost(Tensor):
    """A tensor without data that says it is on a device: autocast and the models believe it."""

    @staticmethod
    def __new__(cls, meta: Tensor, device: torch.device):
        layout = meta.shape, meta.stride(), meta.storage_offset()
        ghost = Tensor._make_wrapper_subclass(cls, *layout, dtype=meta.dtype, device=device)
        ghost.meta = meta
        return ghost

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise RuntimeError("a tensor without data has left the work whose memory was predicted")


def _tensors(tree) -> list[Tensor]:
    return [x for x in tree_iter(tree) if isinstance(x, Tensor)]


def _scratch(operation, args: tuple) -> int:
    """Bytes that the gradients of a convolution take on a CPU: copies in blocks of 16 channels."""
    if operation is not aten.convolution_backward.default or args[0].device.type != "cpu":
        return 0
    return sum(x.nbytes // x.shape[1] * (x.shape[1] + -x.shape[1] % BLOCK) for x in args[:2])


class Live(TorchDispatchMode):
    """Runs operations on ghosts, and adds up the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes, self.now, self.peak = {}, 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        inputs = _tensors((args, kwargs))
        for x in inputs:
            if not isinstance(x, Ghost):
                self.count(x, 0)  # real data from outside of the work
        out = self.run(operation, args, kwargs or {}, inputs)
        for x in _tensors(out):
            self.count(x)
        self.peak = max(self.peak, self.now + _scratch(operation, args))
        return out

    def run(self, operation, args: tuple, kwargs: dict, inputs: list[Tensor]):
        """The result of an operation: real if it is of little real data, and not of chance."""
        ghosts = [x for x in inputs if isinstance(x, Ghost)]
        little = not ghosts and 0 < sum(x.nbytes for x in inputs) < REAL
        if little or operation.namespace != "aten":
            return operation(*args, **kwargs)
        if operation in (aten._local_scalar_dense.default, aten.equal.default):
            return 1.0  # a loss to be logged, or compared with its gate; a check that passes
        device = (ghosts or inputs)[0].device if inputs else kwargs.get("device") or "cpu"
        if operation is aten.bincount.default:  # its size depends on the data
            return Ghost(torch.empty(args[2], dtype=torch.int64, device="meta"), device)
        known = {}

        def lower(x):
            if isinstance(x, torch.Generator):
                return None
            if not isinstance(x, Tensor):
                return x
            layout = {"dtype": x.dtype, "device": "meta"}
            ghost = isinstance(x, Ghost)
            meta = x.meta if ghost else torch.empty_strided(x.shape, x.stride(), **layout)
            known[meta] = x
            return meta

        def lift(x):
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
