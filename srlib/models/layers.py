"""Layers of the laptop networks, and where their values lie."""

from collections.abc import Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_LAST = torch.channels_last_3d  # several times faster on a CPU


def shuffle(x: Tensor, factor: int = 2) -> Tensor:
    """3D pixel shuffle: ``(B, f^3 C, D, H, W)`` to ``(B, C, f D, f H, f W)``."""
    f, (b, c, d, h, w) = factor, x.shape
    x = x.view(b, c // f**3, f, f, f, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // f**3, f * d, f * h, f * w)


def upsample_block(layer: nn.Module, x: Tensor, factor: int = 2) -> Tensor:
    """Through a layer to the next finer grid."""
    return shuffle(layer(F.leaky_relu(x, 0.2)), factor)


def upsample(x: Tensor, factor: float | Fraction, grid_alignment: str) -> Tensor:
    """Linear interpolation of coarse values onto the fine grid.

    ``"corner"``: coarse voxel i sits on fine voxel ``factor * i`` (under-sampled data);
    ``"centre"``: it covers fine voxels ``factor * i`` to ``factor * (i + 1) - 1``.
    """
    if grid_alignment == "centre":
        size = [int(factor * n) for n in x.shape[2:]]
        return F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    size = [int(factor) * n + 1 for n in x.shape[2:]]
    x = F.pad(x, (0, 1) * 3, mode="replicate")
    return F.interpolate(x, size=size, mode="trilinear", align_corners=True)[..., :-1, :-1, :-1]


def interpolate(x: Tensor, scale: Fraction, grid: int, grid_alignment: str) -> Tensor:
    """Values on a grid of ``grid`` voxels a coarse voxel edge, linearly on one of ``scale``.

    Args:
        x: ``(B, C, D, H, W)``.
        scale: At most ``grid``; a whole number for ``"corner"``.
        grid: Voxels of ``x`` along the edge of a coarse one.
        grid_alignment: As in :func:`upsample`.
    """
    size = [int(n * scale / grid) for n in x.shape[2:]]
    if grid_alignment == "centre":
        return F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    for axis, n in enumerate(size, start=2):
        steps = torch.arange(n, device=x.device) * grid
        low, rest = steps // int(scale), steps % int(scale)
        share = (rest / int(scale)).view([-1 if a == axis else 1 for a in range(5)])
        high = (low + 1).clamp(max=x.shape[axis] - 1)  # has no share where it is beyond
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x


def cut(x: Tensor, origin: list[int], start: list[int], size: Sequence[int]) -> Tensor:
    """The part of ``x`` of a size from voxel ``start`` on, where ``x`` starts at ``origin``."""
    places = zip(origin, start, size, strict=True)
    return x[(slice(None), slice(None), *(slice(b - a, b - a + n) for a, b, n in places))]


class Conv3d(nn.Conv3d):
    """A 3x3x3 convolution that keeps the size, ``(B, C, D, H, W)`` in and out.

    Training in 32-bit numbers on a CPU, it is computed as a 2D one, with the slices below and above
    a slice stacked as channels: faster on windows as small as those of a training.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The same values either way."""
        slow = torch.is_grad_enabled() and x.device.type == "cpu" and self.out_channels >= 8
        if not slow or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        b, c, d, h, w = x.shape
        x = F.pad(x.permute(0, 2, 3, 4, 1), (0,) * 6 + (1, 1))
        x = torch.cat([x[:, k : k + d] for k in range(3)], 4).view(b * d, h, w, 3 * c)
        weight = self.weight.movedim(2, 1).reshape(-1, 3 * c, 3, 3)
        weight = weight.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, padding=1)
        return x.permute(0, 2, 3, 1).reshape(b, d, h, w, -1).permute(0, 4, 1, 2, 3)


class Residual(nn.Module):
    """Two 3x3x3 convolutions added to their input; starts near the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = Conv3d(width, width)
        self.two = Conv3d(width, width)
        with torch.no_grad():
            self.two.weight.mul_(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return x + self.two(F.leaky_relu(self.one(F.leaky_relu(x, 0.2)), 0.2, True))  # in place


class BatchRenorm(nn.BatchNorm3d):
    """Batch normalisation whose training can come to use the running statistics (Ioffe 2017).

    ``share`` says how far: from 0, a window's own statistics as in the published network, to 1, the
    running ones as in use. The backward pass is that of a window's own throughout, so no gradient
    can move all voxels together.
    """

    share = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        if not (self.training and self.share):
            return super().forward(x)
        with torch.no_grad():
            var, mean = torch.var_mean(x.float(), (0, 2, 3, 4), correction=0)
            std, wanted = (var + self.eps).sqrt(), (self.running_var + self.eps).sqrt()
            factor = 1 + self.share * (std / wanted - 1)
            offset = self.share * (mean - self.running_mean) / wanted
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var - self.running_var)
        weight, bias = factor * self.weight, offset * self.weight + self.bias
        return F.batch_norm(x, None, None, weight, bias, True, eps=self.eps)
