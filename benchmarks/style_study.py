"""Images of rock made by StyleGAN2 of 14: large ones, small ones, with and without ADA.

``python -m benchmarks.style_study`` trains what is missing, each in a quarter of an hour on two
cores, and writes ``results/full/style-ARM-SEED.json``, and weights into ``_build/style_study``.
The arms ``few`` learn to make squares half as wide, from one square of each image.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.study import sweep
from srlib import metrics, models, training
from srlib.data import Case, sample_squares
from srlib.metrics import diagnostics
from srlib.synthetic import sandstone

JUDGED = 1000  # squares that are measured
ALIKE = 16  # of which so many are looked for in the images

SMALL = {"edge": 32, "iterations": 4000}
ARMS = {"ada": {}, "few": SMALL, "few-no-ada": SMALL}


@cache
def places() -> tuple[Case, Case]:
    """The rock with the 14 images, and with 28 others that no network has seen."""
    return sandstone.case("auto", 0, edge=16), sandstone.case("auto", 1, edge=8, images=28)


def images(arm: str) -> list[np.ndarray]:
    """What an arm learns from."""
    return few() if arm.startswith("few") else places()[0].hr


def few() -> list[np.ndarray]:
    """The square of 32 pixels in the middle of each of the 14 images."""
    return [image[240:272, 240:272] for image in places()[0].hr]


def judge(squares: np.ndarray, seen: list[np.ndarray]) -> dict[str, float]:
    """Errors against images not seen, and how much of the squares is in the images learnt from."""
    other, edge = places()[1].hr, squares.shape[1]
    truth = sample_squares(other, edge, JUDGED, torch.Generator().manual_seed(0))
    found = metrics.image_errors(squares, truth, sandstone.PHASES, max_lag=min(40, edge - 1))
    return found | {"likeness": float(diagnostics.likeness(squares, seen, ALIKE).mean())}


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed, and judge its squares, those it learnt from and others."""
    seen, recipe = images(arm), replace(training.SynthesisRecipe(), **ARMS[arm])
    how = dict(recipe=recipe, ada=not arm.endswith("no-ada"), out=work / f"{seed}.safetensors")
    model = training.fit_stylegan(seen, len(sandstone.PHASES), seed, **how)
    model.meta |= {"case": "rock", "source": "twin", "voxel_nm": sandstone.VOXEL_NM}
    of = {"errors": training.synthesise(model, JUDGED, seed)}
    for name, source in (("learnt from", seen), ("others", places()[1].hr)):
        rng = torch.Generator().manual_seed(1)
        of[name] = sample_squares(source, recipe.edge, JUDGED, rng)
    values = {name: judge(squares, seen) for name, squares in of.items()} | {
        "history": [{k: h[k] for k in ("iteration", "p", "r_t")} for h in model.meta["history"]],
        "training_seconds": model.meta["seconds"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
    }
    models.export(model, work / f"{arm}-{seed}.safetensors")
    return values


if __name__ == "__main__":
    sweep(__doc__, "style", ARMS, run, "twin", seeds=(0,))
