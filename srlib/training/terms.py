"""Terms of the generator's objective beside the critic's score; each says its equation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from srlib import losses
from srlib.data.case import Case
from srlib.training.distributed import all_reduce_mean
from srlib.training.recipe import Recipe

RAMP = 500  # iterations until a one-sided loss tolerates as much as the case says


@dataclass
class Batch:
    """What an iteration works on.

    Attributes:
        lr: One-hot coarse cubes with their halo, ``(B, m, D, H, W)``.
        core: The same without the halo.
        sr: Phase probabilities of the generator, ``(B, n, s*D, s*H, s*W)``.
        inner: Of them what the critic sees: edges cut, one-hot if the recipe says so.
    """

    lr: Tensor
    core: Tensor
    sr: Tensor
    inner: Tensor


class Consistency:
    """Disagreement with the coarse cube, :func:`srlib.losses.voxelwise_loss` (line 9)."""

    def __init__(self, case: Case, recipe: Recipe, phase_map: Tensor) -> None:
        self.case, self.recipe, self.phase_map = case, recipe, phase_map

    def __call__(self, batch: Batch, iteration: int) -> Tensor:
        case = self.case
        if case.lr is None:
            return batch.sr.new_zeros(())
        # Tolerated bit by bit: critics that know nothing yet would make everything solid.
        spare = (case.false_positive_tolerance or 0.0) * min(1.0, iteration / RAMP)
        pair = case.confused_phases and case.confused_phases[:2]
        options = self.phase_map, self.recipe.inverse_temperature, case.one_sided, spare, pair
        return losses.voxelwise_loss(batch.sr, batch.core, case.scale_factor, case.mode, *options)


class InterfaceIsotropy:
    """Weight times :func:`srlib.losses.interface_isotropy_loss`."""

    def __init__(self, case: Case, weight: float) -> None:
        self.case, self.weight = case, weight

    def __call__(self, batch: Batch) -> Tensor:
        isotropic = self.case.normals is None
        uneven = losses.interface_isotropy_loss(batch.inner, self.case.scale_factor, isotropic)
        return self.weight * uneven


class Checkerboard:
    """Weight times :func:`srlib.losses.checkerboard_loss`."""

    def __init__(self, case: Case, weight: float) -> None:
        self.case, self.weight = case, weight

    def __call__(self, batch: Batch) -> Tensor:
        return self.weight * losses.checkerboard_loss(batch.sr, batch.lr, self.case.scale_factor)


class LocalFractions:
    """Weight times :func:`srlib.losses.local_fraction_loss` of two confused phases."""

    def __init__(self, case: Case, weight: float) -> None:
        self.case, self.weight = case, weight

    def __call__(self, batch: Batch) -> Tensor:
        assert self.case.confused_phases is not None  # build_terms has asked
        a, b, wrong = self.case.confused_phases
        scale = self.case.scale_factor
        loss = losses.local_fraction_loss(batch.sr, batch.core, scale, (a, b), wrong)
        return self.weight * loss


class VolumeFractions:
    """Weight times :func:`srlib.losses.volume_fraction_loss`, with the running fractions it needs.

    Attributes:
        fractions: Of the phases in the output, lately, ``(n,)``; a checkpoint keeps them.
    """

    def __init__(self, target: Tensor, weight: float, memory: float = 0.01) -> None:
        self.target, self.weight, self.memory = target, weight, memory
        self.fractions = target.clone()

    def __call__(self, batch: Batch) -> Tensor:
        phases = batch.inner.argmax(1).flatten()
        now = torch.bincount(phases, minlength=len(self.target)) / phases.numel()
        self.fractions += self.memory * (all_reduce_mean(now) - self.fractions)
        loss = losses.volume_fraction_loss(batch.inner, self.fractions, self.target)
        return self.weight * loss

    def state_dict(self) -> dict[str, Tensor]:
        return {"fractions": self.fractions}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.fractions = state["fractions"].to(self.target)


def build_terms(case: Case, recipe: Recipe, target: Tensor) -> list:
    """The terms whose weight is not 0, in the order in which they are added up."""
    terms: list[Callable[[Batch], Tensor]] = []
    if recipe.interface_isotropy_weight:
        terms.append(InterfaceIsotropy(case, recipe.interface_isotropy_weight))
    if recipe.checkerboard_weight:
        terms.append(Checkerboard(case, recipe.checkerboard_weight))
    if case.confused_phases and recipe.local_fraction_weight:
        terms.append(LocalFractions(case, recipe.local_fraction_weight))
    if recipe.volume_fraction_weight:
        terms.append(VolumeFractions(target, recipe.volume_fraction_weight))
    return terms
