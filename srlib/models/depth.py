"""A network that fills in the planes between measured sections, learnt in 2D (FIB-SEM)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def between(x: Tensor, n: int) -> Tensor:
    """Linear interpolation of rows that lie at ``n * k + n // 2``; the border goes on.

    ``(B, C, m, W)`` to ``(B, C, m * n, W)``.
    """
    x = F.pad(x, (0, 0, 1, 1), mode="replicate")
    before, here, after = x[:, :, :-2], x[:, :, 1:-1], x[:, :, 2:]
    shares = [(k - n // 2) / n for k in range(n)]
    rows = [here + abs(s) * ((before if s < 0 else after) - here) for s in shares]
    return torch.stack(rows, 3).flatten(2, 3)


def _planes(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"sections are (B, 1, m, W), not {tuple(x.shape)}")
    return x


class DepthGenerator(nn.Module):
    """From the measured rows of a plane along the depth to all of its rows.

    The generator of an SRGAN for one direction: residual blocks on the coarse grid, then a pixel
    shuffle along the depth alone. What it makes is added to a linear interpolation; measured rows
    stay as they are. The paper does not give its network (GAP-39), so this one is ours. Nothing is
    averaged over a plane, and no normalisation: a pixel depends on its neighbourhood only.

    Args:
        n: Rows to each measured one.
        width: Filters.
        blocks: Residual blocks of two convolutions.
        kernel: Of a convolution: measured rows, and pixels along them. A row is as far as ``n``
            pixels, so it is longer along the rows.

    Attributes:
        reach: Measured rows to the farthest one that an output depends on.
    """

    def __init__(
        self, n: int, width: int = 48, blocks: int = 3, kernel: tuple[int, int] = (3, 7)
    ) -> None:
        super().__init__()
        if n < 2 or width < 1 or blocks < 1 or any(k % 2 == 0 for k in kernel):
            raise ValueError(
                f"n={n} should be 2 or more, width={width} and blocks={blocks} 1 or more, and the "
                f"kernel {tuple(kernel)} odd"
            )
        self.config = dict(n=n, width=width, blocks=blocks, kernel=list(kernel))
        self.n, self.reach = n, (2 * blocks + 2) * (kernel[0] // 2)
        padding = kernel[0] // 2, kernel[1] // 2

        def layer(a: int, b: int) -> nn.Module:
            return nn.Conv2d(a, b, kernel, padding=padding, padding_mode="replicate")

        def block() -> nn.Module:
            first, second = layer(width, width), layer(width, width)
            nn.init.kaiming_normal_(second.weight, 0.2).data.mul_(0.25)  # begins small
            return nn.Sequential(nn.LeakyReLU(0.2), first, nn.LeakyReLU(0.2), second)

        self.first = layer(1, width)
        self.blocks = nn.ModuleList(block() for _ in range(blocks))
        self.last = layer(width, n)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("free", (torch.arange(n) != n // 2).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Measured rows ``(B, 1, m, W)`` to all rows ``(B, 1, m * n, W)``."""
        features = self.first(_planes(x).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            features = features + block(features)
        features = self.last(F.leaky_relu(features, 0.2)).float() * self.free[:, None, None]
        return between(x.float(), self.n) + features.transpose(1, 2).flatten(1, 2)[:, None]


class SRCNN(nn.Module):
    """What SRGAN grew out of: three convolutions on what was interpolated (Dong et al. 2016).

    Args:
        n: Rows to each measured one.
        widths: Filters of the two hidden layers.
        kernels: Of the three layers; 9, 1, 5 in the paper.
    """

    def __init__(
        self, n: int, widths: tuple[int, int] = (64, 32), kernels: tuple[int, int, int] = (9, 1, 5)
    ) -> None:
        super().__init__()
        self.config = dict(n=n, widths=list(widths), kernels=list(kernels))
        self.n, self.reach = n, -(-sum(k // 2 for k in kernels) // n) + 1
        sizes = [1, *widths, 1]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, k, padding=k // 2, padding_mode="replicate")
            for a, b, k in zip(sizes, sizes[1:], kernels, strict=False)
        )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Measured rows ``(B, 1, m, W)`` to all rows ``(B, 1, m * n, W)``."""
        plain = between(_planes(x).float(), self.n)
        detail = plain.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            detail = F.relu(layer(detail))
        return plain + self.layers[-1](detail).float()
