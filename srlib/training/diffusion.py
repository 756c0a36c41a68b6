"""A conditional diffusion on the same pairs and the same network, for the cost in network calls.

The classical rival of InDI (row IN-31): it starts from pure noise and is told the measurement. The
paper names it and does not run it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from srlib.inference.restoration import noise_level
from srlib.models.unet import RestorationUNet
from srlib.training.distributed import choose_device
from srlib.training.restoration import Pairs, RestorationRecipe
from srlib.training.supervised import fit_recipe


def fit_diffusion(
    pairs: Pairs,
    seed: int = 0,
    recipe: RestorationRecipe | None = None,
    device: str | None = None,
    **options: Any,
) -> nn.Module:
    r"""Train a network to predict the clean slice x from noise mixed with it and the measurement y.

    .. math:: x_s = \cos(\tfrac{\pi s}{2})\, x + \sin(\tfrac{\pi s}{2})\, n,
              \qquad \min_F \; \mathbb{E}\, \lVert F(x_s, y, s) - x \rVert^2

    Ho et al. (2020) with the cosine schedule of Nichol and Dhariwal (2021), in continuous time. The
    squared error, because the sampler needs the mean.

    Args:
        pairs, seed, recipe, device, options: As in :func:`srlib.training.fit_restorer`.

    Returns:
        The network, averaged over the last steps; for :func:`srlib.inference.restoration.diffuse`.
    """
    recipe, device = recipe or RestorationRecipe(), choose_device(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RestorationUNet(recipe.width, tanh=False, channels=2)

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        lq, hq, weight = (x.to(device) for x in pairs.draw(recipe.batch, recipe.crop, rng))
        s = 1 - torch.rand(len(lq), generator=rng)
        noise = torch.randn(lq.shape, generator=rng).to(device)
        keep, add = (level.to(device)[:, None, None, None] for level in noise_level(s))
        clean = network(torch.cat([keep * hq + add * noise, lq], 1), s.to(device))
        return ((clean - hq).square() * weight).sum() / weight.sum()

    about, key = {"method": "diffusion"}, pairs.key()
    return fit_recipe(model, loss, recipe.steps, recipe, seed, device, about, key, **options)
