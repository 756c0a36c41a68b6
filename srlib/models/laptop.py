"""Our networks for two CPU cores: the expensive layers work on the coarse grid."""

from fractions import Fraction
from functools import partial
from math import ceil, log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.degrade import exact_scale
from srlib.models.again import again, in_slabs

CHANNELS_LAST = torch.channels_last_3d  # several times faster on a CPU


def shuffle(x: Tensor) -> Tensor:
    """3D pixel shuffle by 2: ``(B, 8*C, D, H, W)`` to ``(B, C, 2*D, 2*H, 2*W)``."""
    b, c, d, h, w = x.shape
    x = x.view(b, c // 8, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // 8, 2 * d, 2 * h, 2 * w)


def rise(layer: nn.Module, x: Tensor) -> Tensor:
    """Through a layer to the next finer grid."""
    return shuffle(layer(F.leaky_relu(x, 0.2)))


def upsample(x: Tensor, factor: float | Fraction, registration: str) -> Tensor:
    """Linear interpolation of coarse values onto the fine grid.

    ``"corner"``: coarse voxel i sits on fine voxel ``factor * i`` (under-sampled data);
    ``"centre"``: it covers fine voxels ``factor * i`` to ``factor * (i + 1) - 1``.
    """
    if registration == "centre":
        size = [int(factor * n) for n in x.shape[2:]]
        return F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    size = [int(factor) * n + 1 for n in x.shape[2:]]
    x = F.pad(x, (0, 1) * 3, mode="replicate")
    return F.interpolate(x, size=size, mode="trilinear", align_corners=True)[..., :-1, :-1, :-1]


def cut(x: Tensor, origin: list[int], start: list[int], size: tuple[int, ...]) -> Tensor:
    """The part of ``x`` of a size from voxel ``start`` on, where ``x`` starts at ``origin``."""
    places = zip(origin, start, size, strict=True)
    return x[(..., *(slice(b - a, b - a + n) for a, b, n in places))]


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


class LaptopGenerator(nn.Module):
    """Generator that starts from interpolation and learns what interpolation lacks.

    Logits are those of the linearly up-sampled coarse phases plus a network's, whose layers work
    on the coarse grid and reach the fine one by pixel shuffles. Trained, a voxel depends on its
    neighbourhood alone, so a volume can be made in tiles.

    Args:
        n_lr: Coarse phases m; 0 to make a volume from noise alone (SliceGAN).
        n_phases: Fine phases n.
        scale_factor: 64/d for a whole number d in 8..32, so 2, 4, 8 or a fraction such as 1.6: then
            all layers work on the grid of the next power of two, and the logits are interpolated.
        noise_channels: Channels of N(0, 1) noise beside the coarse phases; 0 is deterministic.
        width: Channels of the hidden layers.
        blocks: Residual blocks on the coarse grid.
        registration: ``"corner"`` for under-sampled data, ``"centre"`` for under-resolved.
        phase_map: ``(n, m)`` rows of 0 and 1: which coarse phase each fine phase looks like.
        skip: Add the interpolated coarse phases (False: an ablation).
        finish: Channels of two last convolutions on the fine grid, which see the phases of
            neighbouring voxels and remove specks; 0 for none.
        fine_noise: Give these two a noise value for every fine voxel, from which they make what
            is finer than the coarse grid: rough interfaces.
        norm: Batch normalisation of the features at each resolution, as in the published network.
            What is made from noise alone needs it: without it all voxels soon run off to one phase
            together.
    """

    def __init__(
        self,
        n_lr: int,
        n_phases: int,
        scale_factor: float = 4,
        noise_channels: int = 1,
        width: int = 32,
        blocks: int = 2,
        registration: str = "corner",
        phase_map: list[list[float]] | None = None,
        skip: bool = True,
        finish: int = 16,
        fine_noise: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = False  # in the backward pass, what is then not kept: less memory
        scale = exact_scale(scale_factor)
        if scale == 1 or (scale not in (2, 4, 8) and registration == "corner"):
            raise ValueError(
                f"the laptop generator has scale factors 2, 4, 8, and for under-resolved images "
                f"fractions above 1, not {scale_factor}: resample the images to one of these"
            )
        if not n_lr and not noise_channels:
            raise ValueError(
                "without a coarse volume there must be noise: noise_channels of 1 or more"
            )
        skip = skip and n_lr > 0
        if skip and phase_map is None and n_lr != n_phases:
            raise ValueError(f"{n_phases} fine and {n_lr} coarse phases differ: give a phase_map")
        self.config = dict(
            n_lr=n_lr,
            n_phases=n_phases,
            scale_factor=scale_factor,
            noise_channels=noise_channels,
            width=width,
            blocks=blocks,
            registration=registration,
            phase_map=phase_map,
            skip=skip,
            finish=finish,
            fine_noise=fine_noise,
            norm=norm,
        )
        self.fine_noise = bool(fine_noise and finish)
        self.n_lr, self.n_phases, self.noise_channels = n_lr, n_phases, noise_channels
        self.scale, self.registration = scale, registration
        self.scale_factor = int(scale) if scale.denominator == 1 else float(scale)
        steps = ceil(log2(scale))
        self.grid = 2**steps  # voxels of the last layers' grid per coarse voxel edge
        self.first = Conv3d(n_lr + noise_channels, width)
        self.coarse = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.up = nn.ModuleList(Conv3d(width, 8 * width) for _ in range(steps - 1))
        self.fine = nn.ModuleList(Residual(width) for _ in range(steps - 1))
        kind = BatchRenorm if norm else nn.Identity
        self.norms = nn.ModuleList(kind(width) for _ in range(steps))
        self.head = Conv3d(width, 8 * n_phases)
        with torch.no_grad():
            self.head.weight.mul_(0.3)
            for part in [p for net in (*self.up, self.head) for p in net.parameters() if norm]:
                part.copy_(part[::8].repeat_interleave(8, 0))  # a block of voxels starts alike
        # Voxels around a part that each resolution must have, the coarse one's own layers aside.
        self.reach = [2 if finish else 0]
        for _ in range(steps - 1):
            self.reach.insert(0, ceil(self.reach[0] / 2) + 1 + 2)
        self.coarse_halo = 1 + 2 * blocks
        self.halo = self.coarse_halo + ceil(self.reach[0] / 2) + 1
        self.finish = None
        if finish:
            self.finish = nn.Sequential(
                Conv3d(n_phases + self.fine_noise, finish),
                nn.LeakyReLU(0.2, inplace=True),
                Conv3d(finish, n_phases),
            )
            with torch.no_grad():
                self.finish[-1].weight.mul_(0.25)
                self.finish[-1].bias.zero_()
        self.mix = None
        if skip:
            self.mix = nn.Conv3d(n_lr, n_phases, 1)
            start = torch.eye(n_phases) if phase_map is None else torch.tensor(phase_map)
            with torch.no_grad():
                self.mix.weight.copy_(3 * start[:, :, None, None, None])
                self.mix.bias.zero_()
        self.to(memory_format=CHANNELS_LAST)

    def run(self, part, x: Tensor, reach: int = 0) -> Tensor:
        """A part of the network; with ``recompute`` its values are made again, not kept."""
        if not (self.recompute and torch.is_grad_enabled()):
            return part(x)
        return in_slabs(part, x, reach) if reach else again(part, x)

    def logits(
        self,
        x: Tensor,
        keep: tuple[slice, slice, slice] | None = None,
        z: Tensor | None = None,
        part: tuple[slice, slice, slice] | None = None,
    ) -> Tensor:
        """Phase logits ``(B, n, s*d, s*h, s*w)`` of ``x`` ``(B, m + noise, d, h, w)``.

        ``keep`` is the part of ``x`` that reaches the expensive layers; the rest is only seen by
        the coarse ones, which reach ``coarse_halo`` voxels beyond that part. ``z`` is the fine
        noise ``(B, 1, ...)`` of that part, uniform with variance 1; None draws it. ``part``, a part
        of ``x`` within ``keep``, is what comes back; every layer leaves out what cannot reach it.
        """
        f = self.grid
        keep = keep or tuple(slice(0, n) for n in x.shape[2:])
        part = part or keep
        origin = [k.start for k in keep]

        def near(h: Tensor, start: list[int], grid: int, reach: int) -> tuple[Tensor, list[int]]:
            places = list(zip(start, h.shape[2:], part, strict=True))
            low = [max(a, grid * p.start - reach) for a, _, p in places]
            high = [min(a + n, grid * p.stop + reach) for a, n, p in places]
            return cut(h, start, low, [b - a for a, b in zip(low, high, strict=True)]), low

        h = self.run(lambda x: self.coarse(self.first(x)), x)[(..., *keep)]
        h, start, grid = self.norms[0](h.contiguous(memory_format=CHANNELS_LAST)), origin, 1
        stages = zip(self.up, self.fine, self.norms[1:], self.reach, strict=False)
        for up, fine, norm, reach in stages:
            h, grid = self.run(partial(rise, up), h), 2 * grid
            h, start = near(h, [2 * a for a in start], grid, reach)
            h, start = near(self.run(fine, h, 2), start, grid, reach - 2)  # two convolutions on
            h = norm(h.contiguous(memory_format=CHANNELS_LAST))
        out, start = self.run(partial(rise, self.head), h).float(), [2 * a for a in start]
        out, start = near(out, start, f, self.reach[-1])
        if self.mix is not None:
            lr, first = near(x[:, : self.n_lr], [0] * 3, 1, 2)
            lr = upsample(self.mix(lr), f, self.registration)
            out = out + cut(lr, [f * a for a in first], start, out.shape[2:])
        if self.finish is not None:
            seen = out
            if self.fine_noise:
                if z is None:
                    z = 3**0.5 * (2 * torch.rand_like(out[:, :1]) - 1)
                else:
                    z = cut(z, [f * a for a in origin], start, out.shape[2:])
                seen = torch.cat([out, z], 1)
            out = out + self.run(self.finish, seen, 2).float()
        out = near(out, start, f, 0)[0]
        if self.scale == f:
            return out
        size = [int(n * self.scale / f) for n in out.shape[2:]]
        return F.interpolate(out, size=size, mode="trilinear", align_corners=False)

    def forward(
        self,
        x: Tensor,
        keep: tuple[slice, slice, slice] | None = None,
        z: Tensor | None = None,
        part: tuple[slice, slice, slice] | None = None,
    ) -> Tensor:
        """Phase probabilities in [0, 1] that sum to 1 over the phases; shapes as ``logits``."""
        return self.logits(x, keep, z, part).softmax(1)


class LaptopCritic(nn.Module):
    """Patch critic: 2D slices in, the mean score of their patches out.

    Args:
        n_phases: Channels of the one-hot slices.
        width: Channels of the first layer.
    """

    def __init__(self, n_phases: int, width: int = 32) -> None:
        super().__init__()
        self.config = dict(n_phases=n_phases, width=width)
        layers: list[nn.Module] = []
        widths = [n_phases, width, 2 * width, 4 * width]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(B,)`` of slices ``(B, n, H, W)``."""
        return self.layers(x).flatten(1).mean(1)
