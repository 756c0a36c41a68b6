"""Several processes, one for each device, that train one generator together (``torchrun``)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Until the end of a training, numbers too small for a normal float are zero.

    A processor takes many times longer for them, and moments of Adam end there. Not for longer:
    others need them. Without them a k-d tree of scipy may divide its points for ever.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device of this process, after joining the others if there are any.

    Raises:
        ValueError: if there is no such device.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"there is no device {device!r}: use 'cpu' or 'cuda'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found: use device='cpu'")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
    return device


def broadcast_module(module: torch.nn.Module) -> None:
    """Give every process the weights of the first."""
    if torch.distributed.is_initialized():
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, 0)


def all_reduce_mean(value: Tensor) -> Tensor:
    """The mean over the processes; ``value`` itself if there is only one."""
    if not torch.distributed.is_initialized():
        return value
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()


def all_reduce_any(flag: bool, device: torch.device) -> bool:
    """Whether any process says so."""
    return bool(all_reduce_mean(torch.tensor(float(flag), device=device)) > 0)
