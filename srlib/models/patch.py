"""The critic of the GAN that InDI is compared with: it judges patches (InDI, Fig. S3)."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchCritic(nn.Module):
    """Scores of overlapping patches of a restored slice beside its measurement.

    Spectral normalisation keeps its slope below one. The paper describes its GAN in the supplement
    only (GAP-29), so this one is ours.

    Args:
        width: Filters of the first layer.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.config = dict(width=width)

        def layer(a: int, b: int, k: int, stride: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(a, b, k, stride, padding=k // 2 - (k == 4)))

        self.layers = nn.Sequential(
            layer(2, width, 4, 2),
            nn.LeakyReLU(0.2),
            layer(width, 2 * width, 4, 2),
            nn.LeakyReLU(0.2),
            layer(2 * width, 4 * width, 4, 2),
            nn.LeakyReLU(0.2),
            layer(4 * width, 1, 3, 1),
        )

    def forward(self, pair: Tensor) -> Tensor:
        """``(B, 2, H, W)``, restored and measured slice, to scores ``(B, 1, h, w)``."""
        return self.layers(pair)

    def judge(self, pair: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The scores, and what each hidden layer sees."""
        features = []
        for layer in self.layers:
            pair = layer(pair)
            if isinstance(layer, nn.LeakyReLU):
                features.append(pair)
        return pair, features
