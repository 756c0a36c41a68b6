"""Our networks for two CPU cores: the expensive layers work on the coarse grid."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.models.checkpointing import checkpointed, checkpointed_in_slabs
from srlib.models.layers import (
    CHANNELS_LAST,
    BatchRenorm,
    Conv3d,
    Residual,
    cut,
    interpolate,
    upsample,
    upsample_block,
)
from srlib.physics.downsampling import exact_scale, gaussian_kernel

FILTER = 7  # edge of the filters of texture
SHUFFLES = {2: [2], 3: [3], 4: [2, 2], 6: [2, 3], 8: [2, 2, 2], 9: [3, 3], 12: [2, 2, 3]}
LOUD = 6  # how much larger than others the weights of texture begin


class SuperResLite(nn.Module):
    """Generator that starts from interpolation and learns what interpolation lacks.

    Logits are those of the linearly up-sampled coarse phases plus a network's, whose layers work
    on the coarse grid and reach the fine one by pixel shuffles. Trained, a voxel depends on its
    neighbourhood alone, so a volume can be made in tiles.

    Args:
        n_lr: Coarse phases m; 0 to make a volume from noise alone (SliceGAN).
        n_phases: Fine phases n.
        scale_factor: Above 1, as in :func:`srlib.physics.downsampling.exact_scale`. All layers work
            on the next grid of :data:`SHUFFLES` that is as fine, and the logits are interpolated to
            others; for ``"corner"`` it is a whole number.
        noise_channels: Channels of N(0, 1) noise beside the coarse phases; 0 is deterministic.
        width: Channels of the hidden layers.
        blocks: Residual blocks on the coarse grid.
        grid_alignment: ``"corner"`` for under-sampled data, ``"centre"`` for under-resolved.
        phase_map: ``(n, m)`` rows of 0 and 1: which coarse phase each fine phase looks like.
        skip: Add the interpolated coarse phases (False: an ablation).
        refine_channels: Channels of two last convolutions on the fine grid, which see the phases of
            neighbouring voxels and remove specks; 0 for none.
        fine_noise: Give these two a noise value for every fine voxel as well. The shipped weights
            without ``texture`` hardly use it: set to zero, less than 1 % of the voxels change.
        texture: Smooth random fields for these two, made of that noise by filters that are learned
            and begin as Gaussians, 1 and 1.6 fine voxels wide and so on: pores in clay. They begin
            loud, as what begins in silence is not heard: layers before make a pattern of the
            coarse grid instead.
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
        grid_alignment: str = "corner",
        phase_map: list[list[float]] | None = None,
        skip: bool = True,
        refine_channels: int = 16,
        fine_noise: bool = False,
        norm: bool = False,
        texture: int = 0,
    ) -> None:
        super().__init__()
        self.recompute = False  # in the backward pass, what is then not kept: less memory
        scale, skip = exact_scale(scale_factor), skip and n_lr > 0
        self.config = dict(
            n_lr=n_lr,
            n_phases=n_phases,
            scale_factor=scale_factor,
            noise_channels=noise_channels,
            width=width,
            blocks=blocks,
            grid_alignment=grid_alignment,
            phase_map=phase_map,
            skip=skip,
            refine_channels=refine_channels,
            fine_noise=fine_noise,
            norm=norm,
            texture=texture,
        )
        _check_config(self.config)
        self.fine_noise = bool(fine_noise and refine_channels)
        self.n_lr, self.n_phases, self.noise_channels = n_lr, n_phases, noise_channels
        self.scale, self.grid_alignment = scale, grid_alignment
        self.scale_factor = _plain(scale)
        self.grid = min(n for n in SHUFFLES if n >= scale)  # voxels per coarse voxel edge, at last
        self.factors = SHUFFLES[self.grid]
        *inner, last = self.factors
        self.first = Conv3d(n_lr + noise_channels, width)
        self.coarse = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.up = nn.ModuleList(Conv3d(width, f**3 * width) for f in inner)
        self.fine = nn.ModuleList(Residual(width) for _ in inner)
        kind = BatchRenorm if norm else nn.Identity
        self.norms = nn.ModuleList(kind(width) for _ in self.factors)
        self.head = Conv3d(width, last**3 * n_phases)
        with torch.no_grad():
            self.head.weight.mul_(0.3)
        if norm:
            _alike_in_a_block([*self.up, self.head], self.factors)
        self.reach = _reach(self.factors, 2 if refine_channels else 0)
        self.coarse_halo = 1 + 2 * blocks
        wide = self.reach[-1] + FILTER // 2 if texture else 0  # fine voxels of noise around a part
        self.halo = self.coarse_halo + max(
            ceil(self.reach[0] / self.factors[0]) + 1, ceil(wide / self.grid)
        )
        self.texture = _texture(texture, scale) if texture else None
        channels = texture or int(self.fine_noise)
        self.finish = (
            _finish(n_phases, channels, refine_channels, bool(texture)) if refine_channels else None
        )
        self.mix = _mix(n_lr, n_phases, phase_map) if skip else None
        self.to(memory_format=CHANNELS_LAST)

    def run(self, part: Callable[[Tensor], Tensor], x: Tensor, reach: int = 0) -> Tensor:
        """A part of the network; with ``recompute`` its values are made again, not kept."""
        if not (self.recompute and torch.is_grad_enabled()):
            return part(x)
        return checkpointed_in_slabs(part, x, reach) if reach else checkpointed(part, x)

    def logits(
        self,
        x: Tensor,
        keep: tuple[slice, ...] | None = None,
        z: Tensor | None = None,
        part: tuple[slice, ...] | None = None,
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

        z = self._draw(len(x), keep, x.device) if z is None else z
        h = self.run(lambda x: self.coarse(self.first(x)), x)
        h = h[(slice(None), slice(None), *keep)]
        h, start, grid = self.norms[0](h.contiguous(memory_format=CHANNELS_LAST)), origin, 1
        *inner, last = self.factors
        stages = zip(self.up, self.fine, self.norms[1:], self.reach, inner, strict=False)
        for up, fine, norm, reach, k in stages:
            h, grid = self.run(partial(upsample_block, up, factor=k), h), k * grid
            h, start = near(h, [k * a for a in start], grid, reach)
            h, start = near(self.run(fine, h, 2), start, grid, reach - 2)  # two convolutions on
            h = norm(h.contiguous(memory_format=CHANNELS_LAST))
        out = self.run(partial(upsample_block, self.head, factor=last), h).float()
        out, start = near(out, [last * a for a in start], f, self.reach[-1])
        if self.mix is not None:
            lr, first = near(x[:, : self.n_lr], [0] * 3, 1, 2)
            lr = upsample(self.mix(lr), f, self.grid_alignment)
            out = out + cut(lr, [f * a for a in first], start, out.shape[2:])
        out = self._refined(out, z, start, [f * a for a in origin])
        out = near(out, start, f, 0)[0]
        return out if self.scale == f else interpolate(out, self.scale, f, self.grid_alignment)

    def _draw(self, count: int, keep: tuple[slice, ...], device: torch.device) -> Tensor | None:
        """Fine noise of a part of the coarse grid, uniform with variance 1; None if unused."""
        if not self.fine_noise:
            return None
        size = [self.grid * (k.stop - k.start) for k in keep]
        return 3**0.5 * (2 * torch.rand((count, 1, *size), device=device) - 1)

    def _refined(self, out: Tensor, z: Tensor | None, start: list[int], at: list[int]) -> Tensor:
        """Logits after the last two layers; they and the noise ``z`` begin at these voxels."""
        if self.finish is None:
            return out
        seen = out
        if self.fine_noise and z is not None:
            if self.texture is None:
                z = cut(z, at, start, out.shape[2:])
            else:  # the filters see beyond the part
                z = F.pad(z, (FILTER // 2,) * 6)
                z = self.texture(cut(z, at, start, [n + FILTER - 1 for n in out.shape[2:]]))
            seen = torch.cat([out, z], 1)
        return out + self.run(self.finish, seen, 2).float()

    def forward(
        self,
        x: Tensor,
        keep: tuple[slice, ...] | None = None,
        z: Tensor | None = None,
        part: tuple[slice, ...] | None = None,
    ) -> Tensor:
        """Phase probabilities in [0, 1] that sum to 1 over the phases; shapes as ``logits``."""
        return self.logits(x, keep, z, part).softmax(1)


def _plain(scale: Fraction) -> int | float:
    """A scale factor as a whole number if it is one."""
    return int(scale) if scale.denominator == 1 else float(scale)


def _reach(factors: list[int], last: int) -> list[int]:
    """Voxels around a part that each resolution must have; the coarse grid's layers aside."""
    found = [last]
    for factor in reversed(factors[1:]):
        found.insert(0, ceil(found[0] / factor) + 1 + 2)
    return found


def _check_config(config: dict) -> None:
    """Raise a ValueError for a network that cannot be."""
    n_lr, n_phases, scale = config["n_lr"], config["n_phases"], exact_scale(config["scale_factor"])
    if scale == 1 or (scale.denominator > 1 and config["grid_alignment"] == "corner"):
        raise ValueError(
            f"the laptop generator has scale factors above 1, and whole ones for under-sampled "
            f"images, not {config['scale_factor']}: resample the images to one of these"
        )
    if not n_lr and not config["noise_channels"]:
        raise ValueError("without a coarse volume there must be noise: noise_channels of 1 or more")
    if config["skip"] and config["phase_map"] is None and n_lr != n_phases:
        raise ValueError(f"{n_phases} fine and {n_lr} coarse phases differ: give a phase_map")
    if config["texture"] and not (config["fine_noise"] and config["refine_channels"]):
        raise ValueError("texture is made of fine noise: use fine_noise=True and refine_channels")


@torch.no_grad()
def _alike_in_a_block(layers: list[nn.Module], factors: list[int]) -> None:
    """Let the voxels of a block of a pixel shuffle start alike."""
    for layer, factor in zip(layers, factors, strict=True):
        for parameter in layer.parameters():
            parameter.copy_(parameter[:: factor**3].repeat_interleave(factor**3, 0))


@torch.no_grad()
def _texture(fields: int, scale: Fraction) -> nn.Conv3d:
    """Filters that make smooth random fields of white noise; they begin as Gaussians."""
    layer = nn.Conv3d(1, fields, FILTER, bias=False)
    for k, field in enumerate(layer.weight):
        start = gaussian_kernel(scale, 1 + 0.6 * k, FILTER)
        field.copy_(start / start.norm())  # white noise keeps its variance
    return layer


@torch.no_grad()
def _finish(n_phases: int, noise: int, width: int, loud: bool) -> nn.Sequential:
    """The last two convolutions, on the fine grid; ``loud`` is for what has texture."""
    layers = nn.Sequential(
        Conv3d(n_phases + noise, width),
        nn.LeakyReLU(0.2, inplace=True),
        Conv3d(width, n_phases),
    )
    layers[-1].weight.mul_(2 if loud else 0.25)
    if loud:
        layers[0].weight[:, n_phases:] *= LOUD
    layers[-1].bias.zero_()
    return layers


@torch.no_grad()
def _mix(n_lr: int, n_phases: int, phase_map: list[list[float]] | None) -> nn.Conv3d:
    """Logits of fine phases from coarse ones; it begins as the phase map."""
    layer = nn.Conv3d(n_lr, n_phases, 1)
    start = torch.eye(n_phases) if phase_map is None else torch.tensor(phase_map)
    layer.weight.copy_(3 * start[:, :, None, None, None])
    layer.bias.zero_()
    return layer


class SuperResLiteCritic(nn.Module):
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
