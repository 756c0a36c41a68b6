"""The restoration network of InDI (Fig. 1E): a small U-Net that also knows how far it has come."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEAR_ONE = 0.98  # grey values closer to -1 or 1 than this have no useful inverse of tanh


class RestorationUNet(nn.Module):
    """From a degraded slice and its time t to the clean slice.

    A 7x7 stem at half the size, residual blocks, one or more further steps down, dilated
    convolutions at the bottom, skip connections, and a 7x7 sub-pixel convolution back to the full
    size; Swish everywhere, and a last tanh of the sum with the input (InDI, Fig. 1E and "Training
    details"; what is not stated there is our choice, GAP-28: the stem's stride, the number of
    blocks, no normalisation, the sum with the input). The paper has 64 filters, ours 24. As nothing
    is averaged over the image, a pixel depends on its neighbourhood only, and tiles are exact.

    Args:
        width: Filters of the first level; doubled after every step down.
        downs: Steps down after the stem.
        dilations: Of the blocks at the bottom.
        embedding: Length of the sin/cos embedding of t.
        upsample: Of the last step: ``"subpixel"``, or ``"nearest"`` or ``"bicubic"`` followed by a
            convolution (row IN-15).
        tanh: Whether tanh ends the network; without it, grey values may leave [-1, 1].
        channels: Images that go in; the output is added to the first of them.

    Attributes:
        multiple: The edges of an image must be multiples of it.
        reach: Pixels to the farthest input that an output depends on, at most.
    """

    def __init__(
        self,
        width: int = 24,
        downs: int = 2,
        dilations: tuple[int, ...] = (1, 2, 4),
        embedding: int = 32,
        upsample: str = "subpixel",
        tanh: bool = True,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if upsample not in ("subpixel", "nearest", "bicubic"):
            raise ValueError(f"upsample={upsample!r} should be 'subpixel', 'nearest' or 'bicubic'")
        if width % 8 or width < 8 or downs < 1:
            raise ValueError(
                f"width {width} should be a multiple of 8, and downs {downs} 1 or more"
            )
        self.config = dict(
            width=width,
            downs=downs,
            dilations=list(dilations),
            embedding=embedding,
            upsample=upsample,
            tanh=tanh,
            channels=channels,
        )
        self.multiple = 2 ** (downs + 1)
        deep = sum(2 * d for d in dilations) + 2
        self.reach = 9 + 7 * sum(2**k for k in range(1, downs + 1)) + deep * self.multiple
        self.embedding, self.upsample, self.tanh = embedding, upsample, tanh
        sizes = [width * 2**k for k in range(downs + 1)]
        self.stem = nn.Conv2d(channels, width, 7, stride=2, padding=3)
        self.enter = nn.ModuleList(_Block(n, embedding) for n in sizes[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.bottom = nn.ModuleList(_Block(sizes[-1], embedding, d) for d in dilations)
        self.up = nn.ModuleList(
            nn.Conv2d(b, 4 * a, 3, padding=1) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.join = nn.ModuleList(nn.Conv2d(2 * n, n, 3, padding=1) for n in sizes[:-1])
        self.leave = nn.ModuleList(_Block(n, embedding) for n in sizes[:-1])
        self.last = nn.Conv2d(width, 4 if upsample == "subpixel" else 1, 7, padding=3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The clean image that the network expects.

        Args:
            x: Slices in [-1, 1], ``(B, channels, H, W)``, H and W multiples of ``multiple``.
            t: How degraded each is, ``(B,)``: 1 is the measurement, 0 the clean image.

        Returns:
            ``(B, 1, H, W)``, in [-1, 1] with tanh.

        Raises:
            ValueError: if the sizes do not fit.
        """
        want = self.config["channels"]
        if x.ndim != 4 or x.shape[1] != want or any(n % self.multiple for n in x.shape[2:]):
            sizes = f"(B, {want}, H, W), multiples of {self.multiple}"
            raise ValueError(f"x is {tuple(x.shape)}: {sizes}")
        time = position(t, self.embedding)
        out, skips = self.stem(x), []
        for block, down in zip(self.enter, self.down, strict=True):
            out = block(out, time)
            skips.append(out)
            out = down(out)
        for block in self.bottom:
            out = block(out, time)
        for i in reversed(range(len(skips))):
            out = F.pixel_shuffle(self.up[i](out), 2)
            out = self.leave[i](self.join[i](torch.cat([out, skips[i]], 1)), time)
        if self.upsample == "subpixel":
            out = F.pixel_shuffle(self.last(out), 2)
        else:
            out = F.interpolate(out.float(), scale_factor=2, mode=self.upsample)
            out = self.last(out)
        first, out = x[:, :1].float(), t.float()[:, None, None, None] * out.float()
        if not self.tanh:
            return first + out
        return torch.tanh(torch.atanh(first.clamp(-NEAR_ONE, NEAR_ONE)) + out)


class _Block(nn.Module):
    """Two convolutions; the time is added between them (row IN-14)."""

    def __init__(self, n: int, embedding: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(n, n, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(n, n, 3, padding=dilation, dilation=dilation)
        self.time = nn.Linear(embedding, n)
        with torch.no_grad():
            self.second.weight *= 0.25  # no layer normalises, so that a block begins small

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out = self.first(F.silu(x)) + self.time(time)[:, :, None, None]
        return x + self.second(F.silu(out))


def position(t: Tensor, size: int) -> Tensor:
    """Sin/cos embedding of times in [0, 1], ``(B, size)``; waves from 1 to 200 per unit."""
    rates = torch.exp(torch.linspace(0, math.log(200), size // 2, device=t.device))
    angle = t.float()[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)
