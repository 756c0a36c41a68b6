"""Learn the depth of a stack from its own sections (FIB-SEM, Results and Methods).

A section is as sharp as can be along both of its axes. So it is decimated along one of them, as the
stack is along the depth, and a network learns to undo that. As the material is the same in all
directions, the network then does so along the depth.
"""

import copy
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib import losses
from srlib.data.fill import fill_mask, find_fill, replace_fill
from srlib.data.normalization import grey_limits
from srlib.models.depth import SRCNN, DepthGenerator
from srlib.models.patch import PatchCritic
from srlib.physics.sectioning import check_stack, stretched
from srlib.training.distributed import choose_device
from srlib.training.supervised import crops, fit_recipe

DEPTH_METHODS = ("SRGAN", "CNN", "SRCNN")


@dataclass(frozen=True)
class DepthRecipe:
    """A training; the paper's numbers are in brackets, most of them it does not say (GAP-39).

    Attributes:
        steps: Of the optimiser; None for :data:`STEPS` of ``n`` (500 epochs).
        tile: Edge of a tile in pixels, a multiple of ``n``; None for the one next to 56
            that fits into the sections (56).
        batch: Tiles a step.
        rate: Highest learning rate.
        ema_decay: Decay of the averaged weights.
        width, blocks, kernel: See :class:`srlib.models.DepthGenerator`.
        adversarial: SRGAN: weight of the critic's score, to the content loss.
        perceptual: SRGAN: weight of the distance of features of the critic, to the same.
    """

    steps: int | None = None
    tile: int | None = None
    batch: int = 16
    rate: float = 1e-3
    ema_decay: float = 0.998
    width: int = 48
    blocks: int = 3
    kernel: tuple[int, int] = (3, 7)
    adversarial: float = 0.15
    perceptual: float = 1.5


STEPS = {2: 500, 4: 800, 8: 1200}  # a tile has more measured rows at a small n


class Sections:
    """Random tiles of measured sections, turned and mirrored; every place and turn as likely.

    Tiles are read when they are drawn, so a stack on disk is never in memory whole.

    Args:
        stack: Measured sections, three axes, grey values of any kind; an array, or what can be
            sliced as one.
        axis: The depth.
        skip: Numbers of sections to learn nothing from.
        phases: The values of a stack of labels: a tile is one phase, 1, against all others, -1.

    Attributes:
        limits: Grey values that became -1 and 1.
        fill: Values that mark pixels as not measured (:func:`srlib.data.fill.find_fill`); tiles
            with such pixels are drawn again.
        shape: Of the stack, the depth first, without what is skipped.

    Raises:
        ValueError: for what is no stack, or of one grey value.
    """

    stretch = 1.0  # rows of a tile to each pixel
    TRIES = 50  # to draw a tile without fill; where there is none, fill is replaced

    def __init__(
        self,
        stack: np.ndarray,
        axis: int = 0,
        skip: Iterable[int] = (),
        phases: tuple[float, ...] | None = None,
    ) -> None:
        check_stack(stack, 2, axis)
        self.stack, self.axis = stack, axis
        self.numbers = [k for k in range(stack.shape[axis]) if k not in set(skip)]
        self.shape = (len(self.numbers), *(n for a, n in enumerate(stack.shape) if a != axis))
        self.phases = phases
        self.fill: tuple[float, ...] = ()
        self.limits = (0.0, 1.0)
        if not phases:
            self.fill = find_fill(stack, axis)
            self.limits = grey_limits(stack, axis, fill=self.fill)

    def read(self, k: int, part: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """Grey values of a part of section ``k``, as they are stored."""
        index: list[slice | int] = [*part]
        index.insert(self.axis, self.numbers[k])
        return np.asarray(self.stack[tuple(index)])

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Grey values of a section as the network sees them, without fill; float32."""
        mask = fill_mask(values, self.fill)
        low, high = self.limits
        if mask.any():
            values = (low + high) / 2 if mask.all() else replace_fill(values, mask)
            values = np.broadcast_to(values, mask.shape)
        return (values.astype(np.float32) - (low + high) / 2) / ((high - low) / 2)

    def key(self) -> str:
        """SHA-256 of the sections."""
        found = hashlib.sha256()
        for k in range(self.shape[0]):
            found.update(np.ascontiguousarray(self.scaled(self.read(k))).data)
        return found.hexdigest()

    def draw(self, count: int, tile: int, rng: torch.Generator) -> Tensor:
        """Tiles ``(count, 1, tile, tile)``."""
        return torch.stack([self._tile(tile, rng) for _ in range(count)])[:, None]

    def _tile(self, tile: int, rng: torch.Generator) -> Tensor:
        edge = tile if self.stretch == 1 else max(tile, math.ceil((tile - 1) / self.stretch) + 2)
        for _ in range(self.TRIES):
            ((k, (_, rows, columns), turned),) = crops(1, self.shape, edge, rng)
            values = self.read(k, (rows, columns))
            if self.phases:
                phase = int(torch.randint(0, len(self.phases), (1,), generator=rng))
                values = values == self.phases[phase]
            if not fill_mask(values, self.fill).any():
                break
        found = turned(torch.from_numpy(self.scaled(values)))
        if self.stretch == 1:
            return found
        first = float(torch.rand((), generator=rng))  # measured rows are anywhere between pixels
        return torch.from_numpy(stretched(found.numpy(), tile, self.stretch, first))[:, :tile]


def tile_edge(n: int, shape: tuple[int, int]) -> int:
    """Edge of a tile in pixels: the multiple of ``n`` next to 56 that fits into sections."""
    return n * max(1, min(round(56 / n), min(shape) // n))


def fit_depth(
    stack: np.ndarray | Sections,
    n: float,
    method: str = "SRGAN",
    seed: int = 0,
    recipe: DepthRecipe | None = None,
    device: str | None = None,
    *,
    axis: int = 0,
    **options: Any,
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
        n: Planes to each section: the spacing of the sections over the size of a pixel. For one
            that is no whole number, sections are stretched along the axis that is decimated, so
            that the next whole number of rows is as long: 6 rows at 2.5 pixels take 5 pixels.
        method: ``"SRGAN"``, ``"CNN"`` (the same without a critic) or ``"SRCNN"``.
        seed: Of weights and tiles.
        recipe: None for the laptop's.
        axis: The depth of the stack.
        device, options: As in :func:`srlib.training.fit_supervised`: ``out``, ``progress`` ...

    Returns:
        The network, averaged over the last steps, for :func:`srlib.inference.depth.restore`.

    Raises:
        ValueError: for an unknown method, an impossible n, or tiles that do not fit.
    """
    if method not in DEPTH_METHODS:
        raise ValueError(f"there is no method {method!r}: choose of {', '.join(DEPTH_METHODS)}")
    sections = stack if isinstance(stack, Sections) else Sections(stack, axis)
    recipe, device = recipe or DepthRecipe(), choose_device(device)
    check_stack(sections.stack, n, sections.axis, whole=False)
    spacing, n = int(n) if n == int(n) else float(n), math.ceil(n - 1e-9)
    sections = copy.copy(sections)
    sections.stretch = n / spacing
    high, wide = sections.shape[1:]
    tile = tile_edge(n, (high, wide)) if recipe.tile is None else recipe.tile
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
            score, features = critic.judge(seen["fake"])
            with torch.no_grad():
                real_features = critic.judge(seen["real"])[1]
            extra = recipe.perceptual * losses.feature_loss(features, real_features)
            extra = extra - recipe.adversarial * score.float().mean()
            value = value + value.detach() * extra
        return value

    def judged(network: nn.Module, rng: torch.Generator) -> Tensor:
        return losses.hinge(network(seen["real"]), network(seen["fake"].detach()))

    about, key = {"method": method, "n": n, "spacing": spacing}, sections.key()
    options["discriminator"] = (critic, judged) if critic else None
    model = fit_recipe(model, loss, steps, recipe, seed, device, about, key, **options)
    model.meta |= {"limits": sections.limits, "data_sha256": key}
    return model
