"""Rock x8, one change at a time, judged against the truth at two places that are not learnt from.

A case of another size lies elsewhere: neither place overlaps the cube of the training.

``python -m benchmarks.rock_study`` trains what is missing of the arms, each in ten minutes on one
core, and writes ``results/full/rock-ARM-SEED.json``, and weights into ``_build/rock_study``. A
call that was interrupted goes on at its last checkpoint when it is called again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.study import sweep
from srlib import metrics, models, training
from srlib.data import Case
from srlib.inference import superres
from srlib.metrics import diagnostics
from srlib.synthetic import sandstone

LEARN = 64  # coarse voxels an edge of the scan that is learnt from
JUDGE = 34  # of the parts that are judged
PLACES = (0, 1)  # of the rock; none overlaps the cube that is learnt from (LEARN)
IMAGES = 10_000  # that StyleGAN makes of 14, as in the paper
BIAS = 0.05  # too much pore in them


def raw(case: Case) -> Case:
    """The scan as it is, with what it mixes up: the network is to correct it."""
    return case


@cache
def made() -> np.ndarray:
    """Squares of the shipped StyleGAN (chapter 40)."""
    return training.synthesise(models.load("rock-style-0"), IMAGES)


def synthetic(case: Case) -> Case:
    """Made images for real ones; their generator has turned and mirrored them already."""
    return replace(case.cleaned(), hr=list(made()), augment=(False,) * 3)


def biased(case: Case) -> Case:
    """The same without those that have the least pore, so that the others have ``BIAS`` more."""
    pore = (made() == 0).mean((1, 2))
    order = np.argsort(-pore, kind="stable")
    means = pore[order].cumsum() / np.arange(1, len(order) + 1)
    chosen = order[: np.flatnonzero(means >= pore.mean() + BIAS)[-1] + 1]
    return replace(synthetic(case), hr=list(made()[np.sort(chosen)]))


@dataclass(frozen=True)
class Arm:
    """What one arm changes: fields of :class:`srlib.training.Recipe`, and the inputs."""

    recipe: dict = field(default_factory=dict)
    case: Callable = Case.cleaned


# Without an anchor nothing but quartz is left in the end; with a price on fractions, feldspar.
NO_ANCHOR = {
    "consistency_weight": 0.0,
    "local_fraction_weight": 0.0,
    "real_candidates": 0,
    "volume_fraction_weight": 10.0,
    "iterations": 1300,
}
ARMS = {
    "recipe": Arm(),
    "raw": Arm(case=raw),
    "synthetic": Arm(case=synthetic),
    "biased": Arm(case=biased),
    "nearest": Arm(case=lambda case: replace(case.cleaned(), mode="nearest")),
    "no-shares": Arm(case=lambda case: replace(case.cleaned(), confused_phases=None)),
    "no-texture": Arm({"texture": 0}),
    "no-noise": Arm({"noise_channels": 0}),
    "no-anchor": Arm(NO_ANCHOR),
    "no-critic": Arm({"critic_steps": 0, "real_candidates": 0}),
}


@cache
def learnt_from() -> Case:
    """The scan and the images of the first place, with its truth."""
    return sandstone.case("auto", PLACES[0], edge=LEARN)


@cache
def judged(place: int) -> Case:
    """What is super-resolved, with its truth; the images are not looked at."""
    return sandstone.case("auto", place, edge=JUDGE, images=1)


def judge(model: torch.nn.Module, seed: int, how: Callable = Case.cleaned) -> dict:
    """Errors at each place; at the first also what holds and what varies, and a slice.

    ``how`` makes of a case what the model is given.
    """
    errors, inner = {}, (slice(1, -1),) * 3
    for place in PLACES[::-1]:
        case = how(judged(place))
        truth = case.truth[(slice(sandstone.SCALE, -sandstone.SCALE),) * 3]
        volume = superres.superres(model, case.lr, seed, progress=False)
        errors[str(place)] = metrics.class_errors(
            volume, truth, sandstone.PHASES, pair=sandstone.PAIR
        )
    lr, phase_map = case.trusted(case.lr[inner])
    other = superres.superres(model, case.lr, seed + 1, progress=False)
    return {
        "errors": errors,
        "changed by noise": diagnostics.diversity([volume, other]),
        "kept": metrics.consistency(volume, lr, sandstone.SCALE, case.mode, phase_map),
        "imprint": metrics.grid_imprint(volume, sandstone.SCALE),
        "slice": ["".join(map(str, row)) for row in volume[len(volume) // 2]],
    }


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed, and judge it."""
    how, case = ARMS[arm], learnt_from()
    changes = training.laptop_changes(case) | how.recipe  # whatever the arm makes of the case
    given = how.case(case)
    model = training.fit_superres(given, "laptop", seed, out=work / str(seed), **changes)
    values = judge(model, seed, how.case) | {
        "wanted": given.target_fractions(),
        "training_seconds": model.meta["seconds"],
        "kept iteration": model.meta["best_iteration"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
    }
    models.export(model, work / f"{arm}-{seed}.safetensors")
    return values


if __name__ == "__main__":
    sweep(__doc__, "rock", ARMS, run, "twin", seeds=(0, 1, 2))
