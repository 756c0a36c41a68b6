"""A small StyleGAN2 for label images: what makes thousands of images of a few (Rock x8).

After Karras et al., "Analyzing and improving the image quality of StyleGAN" (2020). Images are
one-hot phases, so there is a softmax at the end, and everything is narrow enough for one CPU core.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 4  # edge at which images begin
GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU


def widths(edge: int, width: int, max_channels: int) -> dict[int, int]:
    """Channels at each edge from 4 to ``edge``: ``width`` at the finest, more at coarser ones.

    Raises:
        ValueError: if ``edge`` is not 4 times a power of two, or below 8.
    """
    steps = int(math.log2(edge / SMALLEST)) if edge >= 2 * SMALLEST else 0
    if steps < 1 or SMALLEST << steps != edge:
        raise ValueError(f"the edge of an image must be 8, 16, 32, 64 ..., not {edge}")
    return {SMALLEST << i: min(max_channels, width << (steps - i)) for i in range(steps + 1)}


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance of N(0, 1) about one."""
    return F.leaky_relu(x, 0.2) * GAIN


def noise_like(x: Tensor, rng: torch.Generator | None) -> Tensor:
    """N(0, 1) of one channel, ``(B, C, h, w)`` to ``(B, 1, h, w)``, drawn on the CPU."""
    return torch.randn((len(x), 1, *x.shape[2:]), generator=rng).to(x)


def random_dihedral(x: Tensor, rng: torch.Generator | None) -> Tensor:
    """Each square image of a batch in one of its eight mirrors and quarter turns."""
    ways = torch.randint(0, 8, (len(x),), generator=rng).tolist()
    turned = (torch.rot90(image, way % 4, (1, 2)) for image, way in zip(x, ways, strict=True))
    return torch.stack([i.flip(2) if way > 3 else i for i, way in zip(turned, ways, strict=True)])


class Linear(nn.Module):
    """A linear layer with an equalised learning rate (Karras et al. 2018).

    Weights are kept as N(0, 1) and scaled when used, so that one step of Adam changes each layer
    by the same share.

    Args:
        inputs, outputs: Channels.
        bias: Of the beginning.
        rate: Learning rate of this layer beside the others'.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs)`` to ``(B, outputs)``."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class Conv(nn.Module):
    """A convolution with an equalised learning rate that keeps the size, or halves it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.stride = 1 / math.sqrt(inputs * kernel**2), stride

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h / stride, w / stride)``."""
        weight = (self.weight * self.scale).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.bias, self.stride, padding=weight.shape[-1] // 2)


class Modulated(nn.Module):
    r"""A convolution whose input channels are scaled by a style.

    .. math:: y_j = d_j \sum_{i,k} w_{jik}\, s_i\, x_{ik}, \qquad
              d_j = \Big(\sum_{i,k} (w_{jik} s_i)^2 + 10^{-8}\Big)^{-1/2}

    The demodulation d gives outputs a variance of one for any style, if the inputs have it
    (StyleGAN2, section 2.2). Scaling inputs and outputs is the same as scaling the weights, and
    lets one convolution serve the whole batch.

    Args:
        inputs, outputs: Channels.
        latent: Length of a style vector w.
        kernel: Edge of the filters.
        demodulate: Whether there is a d; without one, weights are of variance 1 / inputs.
    """

    def __init__(
        self, inputs: int, outputs: int, latent: int, kernel: int = 3, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.style = Linear(latent, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale, self.demodulate = 1 / math.sqrt(inputs * kernel**2), demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features ``(B, inputs, h, w)`` and styles ``(B, latent)`` to ``(B, outputs, h, w)``."""
        with torch.autocast(x.device.type, enabled=False):
            style, weight = self.style(w.float()), self.weight * self.scale
            power = style.square() @ weight.square().sum((2, 3)).T
            back = (power + 1e-8).rsqrt().to(x)[:, :, None, None]
        x = x * style.to(x)[:, :, None, None]
        weight = weight.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return x * back if self.demodulate else x


class Layer(nn.Module):
    """A modulated convolution, where asked for a doubling of the size, then noise and a bias."""

    def __init__(self, inputs: int, outputs: int, latent: int, double: bool = False) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, latent)
        self.double = double
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.tensor(0.1))  # of the noise

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None) -> Tensor:
        """Features and styles to features; the convolution comes first, on the smaller grid."""
        x = self.conv(x, w)
        if self.double:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
        x = x + self.strength.to(x) * noise_like(x, rng)
        return scaled_leaky_relu(x + self.bias.to(x)[:, None, None])


class StyleGenerator(nn.Module):
    """Label images from latents: mapping, modulated convolutions with noise, sums of logits.

    Every size adds its logits to those of the size below (the "skip" architecture of StyleGAN2).
    Ours: images begin with noise of all channels, where StyleGAN2 has a learned constant. A face
    has its places, a material has none: with the constant, images had one layout at 1000 steps.

    Args:
        n_phases: Phases n.
        edge: Of an image in pixels: 8, 16, 32, 64 ...
        latent: Length of z and of w.
        width: Channels at the finest size; twice as many at each coarser one.
        max_channels: Most channels.
        depth: Layers of the mapping from z to w.
        isotropic: Turn and mirror every image at random, so that no direction is preferred.
    """

    def __init__(
        self,
        n_phases: int,
        edge: int = 64,
        latent: int = 64,
        width: int = 24,
        max_channels: int = 96,
        depth: int = 2,
        isotropic: bool = False,
    ) -> None:
        super().__init__()
        self.config = dict(n_phases=n_phases, edge=edge, latent=latent, width=width)
        self.config |= dict(max_channels=max_channels, depth=depth, isotropic=isotropic)
        self.latent, self.isotropic = latent, isotropic
        channels = widths(edge, width, max_channels)
        self.layers = nn.ModuleList(Linear(latent, latent, rate=0.01) for _ in range(depth))
        self.first, self.second = nn.ModuleList(), nn.ModuleList()
        self.to_logits = nn.ModuleList()
        before = self.start = channels[SMALLEST]
        for size, now in channels.items():
            self.first.append(Layer(before, now, latent, double=size > SMALLEST))
            self.second.append(Layer(now, now, latent))
            self.to_logits.append(Modulated(now, n_phases, latent, 1, demodulate=False))
            before = now
        self.bias = nn.Parameter(torch.zeros(n_phases))

    def mapping(self, z: Tensor) -> Tensor:
        """Styles w of latents z, both ``(B, latent)``; only the direction of z counts."""
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            w = scaled_leaky_relu(layer(w))
        return w

    def synthesis(self, w: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Probabilities ``(B, n, edge, edge)`` of styles ``(B, latent)``; noise from ``rng``."""
        x = torch.randn((len(w), self.start, SMALLEST, SMALLEST), generator=rng).to(w)
        x = x.contiguous(memory_format=torch.channels_last)
        logits = self.bias[:, None, None]
        for first, second, out in zip(self.first, self.second, self.to_logits, strict=True):
            x = second(first(x, w, rng), w, rng)
            if logits.ndim == 4:
                logits = F.interpolate(logits, scale_factor=2, mode="bilinear")
            logits = logits + out(x, w).float()
        images = logits.softmax(1)
        return random_dihedral(images, rng) if self.isotropic else images

    def forward(self, z: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Images of latents.

        Args:
            z: N(0, 1), shape ``(B, latent)``.
            rng: Generator on the CPU for the noise; None for torch's own.

        Returns:
            Phase probabilities in [0, 1] that sum to one, shape ``(B, n, edge, edge)``.

        Raises:
            ValueError: if z has another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z {tuple(z.shape)} must be (B, {self.latent})")
        return self.synthesis(self.mapping(z), rng)


class Halving(nn.Module):
    """A residual block of the critic that halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one = Conv(inputs, inputs)
        self.two = Conv(inputs, outputs, stride=2)
        self.skip = Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h / 2, w / 2)``; the variance stays."""
        skip = self.skip(F.avg_pool2d(x, 2))
        return (scaled_leaky_relu(self.two(scaled_leaky_relu(self.one(x)))) + skip) / GAIN


class StyleCritic(nn.Module):
    """The residual critic of StyleGAN2, with the spread of the batch as a channel.

    Args:
        n_phases, edge, width, max_channels: As in :class:`StyleGenerator`.
        group: Images whose spread is measured together; a critic that sees it notices when all
            images of a generator are alike.
    """

    def __init__(
        self, n_phases: int, edge: int = 64, width: int = 24, max_channels: int = 96, group: int = 4
    ) -> None:
        super().__init__()
        self.config = dict(
            n_phases=n_phases, edge=edge, width=width, max_channels=max_channels, group=group
        )
        self.group = group
        channels = list(widths(edge, width, max_channels).values())[::-1]
        self.enter = Conv(n_phases, channels[0], 1)
        pairs = zip(channels[:-1], channels[1:], strict=True)
        self.blocks = nn.ModuleList(Halving(a, b) for a, b in pairs)
        self.last = Conv(channels[-1] + 1, channels[-1])
        self.dense = Linear(channels[-1] * SMALLEST**2, channels[-1])
        self.score = Linear(channels[-1], 1)

    def spread(self, x: Tensor) -> Tensor:
        """Mean standard deviation over each group, as a channel ``(B, 1, h, w)``."""
        size = math.gcd(len(x), self.group)
        groups = x.float().unflatten(0, (-1, size))
        mean = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        return mean.repeat_interleave(size).to(x).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])

    def forward(self, images: Tensor) -> Tensor:
        """One-hot images ``(B, n, edge, edge)`` to scores ``(B,)``, high for real ones."""
        x = scaled_leaky_relu(self.enter(images))
        for block in self.blocks:
            x = block(x)
        x = scaled_leaky_relu(self.last(torch.cat([x, self.spread(x)], 1)))
        return self.score(scaled_leaky_relu(self.dense(x.flatten(1))))[:, 0]
