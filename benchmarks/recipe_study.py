"""What matters in the laptop recipe: one change at a time, on the real fuel-cell anode.

``python -m benchmarks.recipe_study`` runs what is missing of the table on the recipe page, each
arm and seed in about five minutes, and writes ``results/full/recipe-ARM-SEED.json``. An
arm that was interrupted starts anew.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm.std import tqdm

from benchmarks.study import sweep
from srlib import data, datasets, metrics, training
from srlib.inference import superres

ITERATIONS = 1600
BEFORE = {"fine_noise": False}  # the study asked what to change, and this is what came of it
ARMS = {
    "recipe": {},
    "voxel-weight-10": {"consistency_weight": 10.0},
    "beta1-0.5": {"betas": (0.5, 0.9)},
    "critic-steps-1": {"critic_steps": 1},
    "halo-0": {"halo": 0},
    "no-skip": {"skip": False},
    "noise-0": {"noise_channels": 0},
    "noise-4": {"noise_channels": 4},
    "no-evenness": {"interface_isotropy_weight": 0.0},
    "no-finish": {"refine_channels": 0},
    "fine-noise": {"fine_noise": True},
    "hard": {"straight_through": True},
    "fine-noise-hard": {"straight_through": True, "fine_noise": True},
}


def judge(model, case: data.Case, seed: int, reference: dict) -> dict:
    """The six errors of training, and the signed ones of every fraction and area."""
    labels = superres.superres(model, case.lr, seed, progress=False)
    found = metrics.compare(labels, reference)
    signed = [*found["vf_error"], *found["area_error"].values()]
    quality = training.quality(labels, case.lr[1:-1, 1:-1, 1:-1], case, reference)
    return {**quality, "signed_percent": (100 * np.array(signed)).tolist()}


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed to the end, and judge its averaged and its last weights."""
    case = datasets.load("case3", "real")
    recipe = replace(training.PROFILES["laptop"], iterations=ITERATIONS, **BEFORE | ARMS[arm])
    trainer = training.SuperResTrainer(case, recipe, seed, torch.device("cpu"))
    for _ in tqdm(range(ITERATIONS), desc=f"{arm}, seed {seed}", mininterval=5):
        trainer.step()
    reference = metrics.reference_statistics(case.hr)
    return {
        "change": {k: list(v) if isinstance(v, tuple) else v for k, v in ARMS[arm].items()},
        "averaged": judge(trainer.model, case, seed, reference),
        "last": judge(trainer.generator, case, seed, reference),
        "iterations": ITERATIONS,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sweep(__doc__, "recipe", ARMS, run, "real")
