"""Parts of a network whose values are not kept for the backward pass but made again in it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

SLAB = 16  # voxels


def checkpointed(part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``part(*inputs)``, and once more in the backward pass: less memory, more time."""
    return checkpoint(part, *inputs, use_reentrant=False)


def checkpointed_in_slabs(part: Callable[[Tensor], Tensor], x: Tensor, reach: int) -> Tensor:
    """The same for one slab of ``x`` ``(B, C, D, H, W)`` after the other.

    Args:
        part: Keeps the size; a voxel of its result depends on ``reach`` voxels on each side, and
            beyond the border are zeros.
        x: Its input.
        reach: In voxels.
    """
    out, n = [], x.shape[2]
    for start in range(0, n, SLAB):
        stop, low = min(start + SLAB, n), max(start - reach, 0)
        made = checkpointed(part, x[:, :, low : min(stop + reach, n)])
        out.append(made[:, :, start - low : stop - low])
    return torch.cat(out, 2)
