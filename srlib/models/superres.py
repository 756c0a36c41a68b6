"""The published SuperRes networks (Dahari et al., Fig. 13; sizes from their public code)."""

from fractions import Fraction
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.physics.downsampling import exact_scale


def _conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, padding_mode="replicate"),
        nn.BatchNorm3d(outputs),
    )


class SuperRes(nn.Module):
    """Generator of SuperRes: one of three forms by scale factor (<= 2, <= 4, <= 8).

    Fully convolutional: an input of any size gives an output ``scale_factor`` times as large.
    Parameters for two coarse phases and one noise channel to three phases: 1.12 M (scale factor
    up to 2), 5.89 M (4) and 20.07 M (8).

    Args:
        n_lr: Coarse phases m.
        n_phases: Fine phases n.
        scale_factor: 64/d for an integer d in 8..64.
        noise_channels: Channels of N(0, 1) noise beside the coarse phases; 0 is deterministic.
    """

    def __init__(
        self, n_lr: int, n_phases: int, scale_factor: float = 4.0, noise_channels: int = 1
    ) -> None:
        super().__init__()
        self.config = dict(
            n_lr=n_lr,
            n_phases=n_phases,
            scale_factor=float(scale_factor),
            noise_channels=noise_channels,
        )
        self.n_lr, self.n_phases, self.noise_channels = n_lr, n_phases, noise_channels
        self.scale_factor = scale_factor
        self.scale = _published_scale(scale_factor)
        stages = 1 if self.scale <= 2 else 2 if self.scale <= 4 else 3
        width = 64 * 2**stages
        self.halo, self.coarse_halo = 5, 0
        self.first = nn.Sequential(_conv_bn(n_lr + noise_channels, width), nn.ReLU())
        self.block = nn.Sequential(_conv_bn(width, width), nn.ReLU(), _conv_bn(width, width))
        self.resize = _conv_bn(512, 256) if stages == 3 else None
        self.transpose = None
        if stages >= 2:
            self.transpose = nn.Sequential(
                nn.ConvTranspose3d(256, 128, 4, stride=2, padding=1), nn.BatchNorm3d(128)
            )
        self.last = _conv_bn(128, 64)
        self.head = nn.Conv3d(64, n_phases, 3, padding=1, padding_mode="replicate")

    def logits(self, x: Tensor) -> Tensor:
        """Phase logits ``(B, n, s*d, s*h, s*w)`` of ``x`` ``(B, m + noise, d, h, w)``."""
        size = [ceil(n * self.scale) for n in x.shape[2:]]
        x = self.first(x)
        x = torch.relu(x + self.block(x))
        if self.resize is not None:
            x = torch.relu(self.resize(F.interpolate(x, scale_factor=2, mode="trilinear")))
        if self.transpose is not None:
            x = torch.relu(self.transpose(x))
        return self.head(torch.relu(self.last(F.interpolate(x, size=size, mode="trilinear"))))

    def forward(self, x: Tensor) -> Tensor:
        """Phase probabilities in [0, 1] that sum to 1 over the phases; shapes as ``logits``."""
        return self.logits(x).float().softmax(1)


def _published_scale(scale_factor: float) -> Fraction:
    """The fraction 64/d of a scale factor."""
    scale = exact_scale(scale_factor)
    if (64 / scale).denominator > 1 or scale > 8:
        raise ValueError(
            f"the published network has scale factors 64/d for a whole number d from 8 to 64, not "
            f"{scale_factor:g}: take SuperResLite, or resample the fine images"
        )
    return scale


class SuperResCritic(nn.Module):
    """Critic of SuperRes and SliceGAN: 2D slices in, one score each out; 1,847,233 parameters.

    Made for slices of 56 x 56 (28, 14, 7, 4, 1); larger slices give the mean of several scores.

    Args:
        n_phases: Channels of the one-hot slices.
    """

    def __init__(self, n_phases: int) -> None:
        super().__init__()
        self.config = dict(n_phases=n_phases)
        widths, kernels = [n_phases, 64, 128, 256, 512], [4, 4, 4, 3]
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernels):
            layers += [nn.Conv2d(widths[i], widths[i + 1], kernel, 2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(B,)`` of slices ``(B, n, H, W)`` of at least 56 x 56 pixels."""
        return self.layers(x).flatten(1).mean(1)
