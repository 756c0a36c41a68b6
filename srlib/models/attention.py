"""A small U-Net for segmentation, with residual blocks and attention gates on its skips."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionResUNet(nn.Module):
    r"""From grey slices to the phase of every pixel.

    Residual blocks at every level, steps down by strided convolutions, steps up by sub-pixel
    convolutions. A skip :math:`x` does not pass as it is: the coarser level :math:`g` below says
    how much of each place counts (Oktay et al. 2018, "Attention U-Net", eq. 1 and 2),

    .. math:: \alpha = \sigma\big(\psi^T\,\mathrm{ReLU}(W_x x + W_g g)\big),
              \qquad \hat{x} = \alpha\, x .

    InDI, "Machine-learning image segmentation", names the model and not its sizes; these are ours.
    As nothing is averaged over the image, a pixel depends on its neighbourhood only.

    Args:
        classes: Phases to tell apart.
        width: Filters of the first level; doubled after every step down.
        downs: Steps down.
        channels: Of the input; 1 for grey.

    Attributes:
        multiple: The edges of an image must be multiples of it.

    Raises:
        ValueError: if there is less than one filter, step or channel, or less than two classes.
    """

    def __init__(self, classes: int = 2, width: int = 12, downs: int = 3, channels: int = 1):
        super().__init__()
        if classes < 2 or min(width, downs, channels) < 1:
            raise ValueError(
                f"classes {classes} should be 2 or more; width {width}, downs {downs} and "
                f"channels {channels} 1 or more"
            )
        self.config = dict(classes=classes, width=width, downs=downs, channels=channels)
        self.multiple = 2**downs
        sizes = [width * 2**k for k in range(downs + 1)]
        steps = list(zip(sizes, sizes[1:], strict=False))
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.enter = nn.ModuleList(_Block(n) for n in sizes)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in steps)
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 3, padding=1) for a, b in steps)
        self.gate = nn.ModuleList(_Gate(a, b) for a, b in steps)
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 3, padding=1) for a, _ in steps)
        self.leave = nn.ModuleList(_Block(a) for a, _ in steps)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every phase.

        Args:
            x: Slices in [-1, 1], ``(B, channels, H, W)``, H and W multiples of ``multiple``.

        Returns:
            ``(B, classes, H, W)``; a softmax over the classes makes them probabilities.

        Raises:
            ValueError: if the sizes do not fit.
        """
        channels = self.config["channels"]
        if x.ndim != 4 or x.shape[1] != channels or any(n % self.multiple for n in x.shape[2:]):
            raise ValueError(
                f"x is {tuple(x.shape)}: (B, {channels}, H, W), multiples of {self.multiple}"
            )
        out, skips = self.enter[0](self.stem(x)), []
        for down, block in zip(self.down, self.enter[1:], strict=True):
            skips.append(out)
            out = block(down(out))
        for i in reversed(range(len(skips))):
            kept = self.gate[i](skips[i], out)
            out = F.pixel_shuffle(self.up[i](out), 2)
            out = self.leave[i](self.join[i](torch.cat([out, kept], 1)))
        return self.last(F.silu(out)).float()


class _Gate(nn.Module):
    """What a skip lets through: a number in (0, 1) for each place, at half the resolution."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(fine, fine, 2, stride=2, bias=False)
        self.below = nn.Conv2d(coarse, fine, 1)
        self.score = nn.Conv2d(fine, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        share = torch.sigmoid(self.score(F.relu(self.skip(x) + self.below(g))))
        return x * F.interpolate(share, scale_factor=2, mode="bilinear")


class _Block(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n, n, 3, padding=1)
        self.second = nn.Conv2d(n, n, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.25  # no layer normalises, so that a block begins small

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))
