"""Learn the depth of a stack from its own sections (FIB-SEM, Results and Methods).

A section is as sharp as can be along both of its axes. So it is decimated along one of them, as the
stack is along the depth, and a network learns to undo that. As the material is the same in all
directions, the network then does so along the depth.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib import losses
from srlib.data.normalization import grey_limits
from srlib.models.depth import SRCNN, DepthGenerator
from srlib.models.patch import PatchCritic
from srlib.physics.sectioning import check_stack
from srlib.training.distributed import choose_device
from srlib.training.supervised import crops, fit_supervised, one_cycle

DEPTH_METHODS = ("SRGAN", "CNN", "SRCNN")


@dataclass(frozen=True)
class DepthRecipe:
    """A training; the paper's numbers are in brackets, most of them it does not say (GAP-39).

    Attributes:
        steps: Of the optimiser; None for :data:`STEPS` of ``n`` (500 epochs).
        tile: Edge of a tile in pixels, a multiple of ``n``; None for the one next to 56 (56).
        batch: Tiles a step.
        rate: Highest learning rate.
        average: Decay of the averaged weights.
        width, blocks, kernel: See :class:`srlib.models.DepthGenerator`.
        adversarial: SRGAN: weight of the critic's score, to the content loss.
        perceptual: SRGAN: weight of the distance of features of the critic, to the same.
    """

    steps: int | None = None
    tile: int | None = None
    batch: int = 16
    rate: float = 1e-3
    average: float = 0.998
    width: int = 48
    blocks: int = 3
    kernel: tuple[int, int] = (3, 7)
    adversarial: float = 0.15
    perceptual: float = 1.5


STEPS = {2: 500, 4: 800, 8: 1200}  # a tile has more measured rows at a small n


class Sections:
    """Random tiles of measured sections, turned and mirrored; every place and turn as likely.

    Args:
        stack: Measured sections, three axes, grey values of any kind.
        axis: The depth.

    Attributes:
        limits: Grey values that became -1 and 1.

    Raises:
        ValueError: for what is no stack, or not finite, or of one grey value.
    """

    def __init__(self, stack: np.ndarray, axis: int = 0) -> None:
        stack = np.asarray(stack)
        check_stack(stack, 2, axis)
        stack = np.moveaxis(stack, axis, 0)
        if not np.isfinite(stack).all():
            raise ValueError("the stack holds NaN or infinite values: fill them first")
        self.limits = low, high = grey_limits(stack)
        scaled = (stack.astype(np.float32) - (low + high) / 2) / ((high - low) / 2)
        self.sections = torch.from_numpy(scaled)

    def key(self) -> str:
        """SHA-256 of the sections."""
        return hashlib.sha256(self.sections.numpy().tobytes()).hexdigest()

    def draw(self, count: int, tile: int, rng: torch.Generator) -> Tensor:
        """Tiles ``(count, 1, tile, tile)``."""
        places = crops(count, tuple(self.sections.shape), tile, rng)
        found = [turned(self.sections[k][part]) for k, part, turned in places]
        return torch.stack(found)[:, None]


def fit_depth(
    stack: np.ndarray | Sections,
    n: int,
    method: str = "SRGAN",
    seed: int = 0,
    recipe: DepthRecipe | None = None,
    device: str | None = None,
    *,
    axis: int = 0,
    **how,
) -> nn.Module:
    r"""Train a network that undoes the decimation of sections by ``n``.

    .. math:: L_G = C + \bar C\,\Big(\mu \sum_l \mathrm{E}\,|\phi_l(\tilde x) - \phi_l(x)|
              - \lambda\, \mathrm{E}[D(\tilde x, y)]\Big), \qquad C = \mathrm{MSE}(\tilde x, x)

    with the tile x, its decimation y, the output of the network and the features
    :math:`\phi_l` of the critic D itself, which needs no weights of others. The size of C, without
    its gradient, makes weights that fit one n fit another: C is forty times as large at n = 8 as
    at n = 2. Without the last two terms it is a CNN. FIB-SEM, Methods; tiles are turned and
    mirrored *before* they are decimated, so that the measured row is the one at ``n // 2``.

    Args:
        stack: Measured sections, three axes; or :class:`Sections`.
        n: Planes to each section: the spacing of the sections over the size of a pixel.
        method: ``"SRGAN"``, ``"CNN"`` (the same without a critic) or ``"SRCNN"``.
        seed: Of weights and tiles.
        recipe: None for the laptop's.
        axis: The depth of the stack.
        device, how: As in :func:`srlib.training.fit_supervised`: ``out``, ``progress`` ...

    Returns:
        The network, averaged over the last steps, for :func:`srlib.inference.depth.restore`.

    Raises:
        ValueError: for an unknown method, an impossible n, or tiles that do not fit.
    """
    if method not in DEPTH_METHODS:
        raise ValueError(f"there is no method {method!r}: choose of {', '.join(DEPTH_METHODS)}")
    sections = stack if isinstance(stack, Sections) else Sections(stack, axis)
    recipe, device = recipe or DepthRecipe(), choose_device(device)
    check_stack(sections.sections.numpy(), n)
    n, (high, wide) = int(n), sections.sections.shape[1:]
    tile = n * max(1, round(56 / n)) if recipe.tile is None else recipe.tile
    if tile % n or not n <= tile <= min(high, wide):
        raise ValueError(
            f"a tile of {tile} pixels should be a multiple of n={n} and fit into sections of "
            f"{high} x {wide}: is axis={axis} the depth? If so, choose DepthRecipe(tile=...)"
        )
    near = STEPS[min(STEPS, key=lambda known: abs(known - n))]
    steps = near if recipe.steps is None else recipe.steps
    if steps < 1 or recipe.batch < 1:
        raise ValueError(f"steps={steps} and batch={recipe.batch} should be 1 or more")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if method == "SRCNN":
            model = SRCNN(n)
        else:
            model = DepthGenerator(n, recipe.width, recipe.blocks, recipe.kernel)
        model = model.to(memory_format=torch.channels_last)
        critic = PatchCritic() if method == "SRGAN" else None
    seen: dict[str, Tensor] = {}

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        fine = sections.draw(recipe.batch, tile, rng).to(device)
        coarse = fine[:, :, n // 2 :: n]
        made = network(coarse)
        value = F.mse_loss(made, fine)
        if critic:
            held = coarse.repeat_interleave(n, 2)
            seen.update(real=torch.cat([fine, held], 1), fake=torch.cat([made, held], 1))
            score, found = critic.judge(seen["fake"])
            with torch.no_grad():
                wanted = critic.judge(seen["real"])[1]
            extra = recipe.perceptual * losses.feature_loss(found, wanted)
            extra = extra - recipe.adversarial * score.float().mean()
            value = value + value.detach() * extra
        return value

    def judged(network: nn.Module, rng: torch.Generator) -> Tensor:
        return losses.hinge(network(seen["real"]), network(seen["fake"].detach()))

    model = fit_supervised(
        model,
        loss,
        steps,
        seed,
        device,
        rate=recipe.rate,
        schedule=one_cycle,
        ema_decay=recipe.average,
        clip=1.0,
        data_key=json.dumps([method, n, asdict(recipe), sections.key()]),
        discriminator=(critic, judged) if critic else None,
        **how,
    )
    model.meta |= {"method": method, "n": n, "limits": sections.limits, "recipe": asdict(recipe)}
    model.meta["data_sha256"] = sections.key()
    return model
