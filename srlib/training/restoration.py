"""Train a restoration network on pairs of slices: as a CNN, as a GAN, or by InDI's small steps.

All three use one network, one loss, the same crops and as many steps: what differs is what they
are shown and who judges. A CNN sees the measurement only (t = 1). A GAN does too, with a critic
beside the loss. InDI sees mixtures of measurement and clean slice.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srlib import losses
from srlib.models.patch import PatchCritic
from srlib.models.unet import RestorationUNet
from srlib.training.distributed import choose_device
from srlib.training.supervised import crops, fit_recipe

METHODS = ("InDI", "CNN", "GAN")


@dataclass(frozen=True)
class RestorationRecipe:
    """A training; the paper's numbers are in brackets.

    Attributes:
        steps: Of the optimiser (about 180,000: 1600 epochs of 225 slices in pairs).
        crop: Edge of a crop in pixels (640).
        batch: Crops a step (2).
        rate: Highest learning rate (0.0005).
        ema_decay: Decay of the averaged weights (not said).
        width: Filters of the first level (64).
        noise: InDI's epsilon, the noise added in proportion to t (not said).
        at_one: InDI: share of crops with t = 1; the others have t uniform in (0, 1] (not said).
        adversarial: GAN: weight of the critic's score (not said).
        upsample, tanh: See :class:`srlib.models.RestorationUNet`.
    """

    steps: int = 3000
    crop: int = 160
    batch: int = 4
    rate: float = 5e-4
    ema_decay: float = 0.998
    width: int = 24
    noise: float = 0.01
    at_one: float = 0.2
    adversarial: float = 0.02
    upsample: str = "subpixel"
    tanh: bool = True


class Pairs:
    """Random crops of paired slices, both turned and mirrored alike (IN-10).

    Args:
        lq: Measured slices ``(D, H, W)`` in [-1, 1].
        hq: Clean slices of the same shape.
        mask: ``(H, W)`` or ``(D, H, W)``; what is outside has no weight.
        turn: Whether crops are turned and mirrored; not if what was lost has a direction.

    Raises:
        ValueError: if shapes differ or values are not finite or outside [-1, 1].
    """

    def __init__(self, lq: np.ndarray, hq: np.ndarray, mask: np.ndarray, turn: bool = True) -> None:
        if lq.ndim != 3 or lq.shape != hq.shape or mask.shape not in (lq.shape, lq.shape[1:]):
            raise ValueError(
                f"lq {lq.shape} and hq {hq.shape} must be (D, H, W) alike, and the mask "
                f"{mask.shape} as well, or (H, W)"
            )
        for name, grey in (("lq", lq), ("hq", hq)):
            if not np.isfinite(grey).all() or np.abs(grey).max() > 1:
                raise ValueError(
                    f"{name} must be finite and in [-1, 1]: see srlib.data.normalization.scaled"
                )
        if not mask.any():
            raise ValueError("the mask is empty: there is nothing to learn from")
        self.slices = torch.from_numpy(np.stack([lq, hq], 1).astype(np.float32))
        self.mask = torch.from_numpy(mask.astype(np.float32)).expand(lq.shape)
        self.turn = turn

    def key(self) -> str:
        """SHA-256 of the slices."""
        return hashlib.sha256(self.slices.numpy().tobytes()).hexdigest()

    def draw(self, n: int, crop: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Measured and clean crops and their weights, each ``(n, 1, crop, crop)``."""
        high, wide = self.mask.shape[1:]
        if crop > min(high, wide):
            raise ValueError(f"a crop of {crop} is larger than a slice of {high} x {wide}")
        drawn = []
        for k, square, turned in crops(n, (len(self.slices), high, wide), crop, rng):
            pair = torch.cat([self.slices[k][square], self.mask[k][square][None]])
            drawn.append(turned(pair) if self.turn else pair)
        batch = torch.stack(drawn)
        return batch[:, :1], batch[:, 1:2], batch[:, 2:]


def fit_restorer(
    pairs: Pairs,
    method: str = "InDI",
    seed: int = 0,
    recipe: RestorationRecipe | None = None,
    device: str | None = None,
    **options: Any,
) -> nn.Module:
    """Train one of the three methods of the paper.

    InDI learns to predict the clean slice x from mixtures (IN-16),

    .. math:: x_t = (1-t)\\,x + t\\,y + t\\,\\varepsilon\\, n .

    Args:
        pairs: What to learn from.
        method: ``"InDI"``, ``"CNN"`` or ``"GAN"``.
        seed: Of weights, crops, times and noise.
        recipe: None for the laptop's.
        device, options: As in :func:`srlib.training.fit_supervised`: ``out``, ``progress`` ...

    Returns:
        The network, averaged over the last steps, in evaluation mode; for
        :func:`srlib.inference.restoration.restore`, with ``steps=1`` unless it is InDI's.

    Raises:
        ValueError: for an unknown method, or crops that do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    recipe = recipe or RestorationRecipe()
    device = choose_device(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RestorationUNet(recipe.width, upsample=recipe.upsample, tanh=recipe.tanh)
        critic = PatchCritic() if method == "GAN" else None
    seen: dict[str, Tensor] = {}

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        lq, hq, weight = (x.to(device) for x in pairs.draw(recipe.batch, recipe.crop, rng))
        t = torch.ones(len(lq))
        if method == "InDI":
            mixed = torch.rand(len(lq), generator=rng) >= recipe.at_one
            t[mixed] = 1 - torch.rand(int(mixed.sum()), generator=rng)
        noise = torch.randn(lq.shape, generator=rng).to(device)
        share = t.to(device)[:, None, None, None]
        x = (1 - share) * hq + share * lq
        if method == "InDI":
            x = x + share * recipe.noise * noise
        clean = network(x, t.to(device))
        value = losses.berhu(clean, hq, weight)
        if critic is not None:
            seen.update(lq=lq * weight, hq=hq * weight, clean=clean * weight)
            score = critic(torch.cat([seen["clean"], seen["lq"]], 1))
            value = value - recipe.adversarial * score.float().mean()
        return value

    def judged(network: nn.Module, rng: torch.Generator) -> Tensor:
        real, fake = (
            network(torch.cat([seen[k].detach(), seen["lq"]], 1)) for k in ("hq", "clean")
        )
        return losses.hinge(real, fake)

    options["discriminator"] = (critic, judged) if critic else None
    about, key = {"method": method}, pairs.key()
    return fit_recipe(model, loss, recipe.steps, recipe, seed, device, about, key, **options)
