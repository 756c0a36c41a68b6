"""InDI, a CNN and a GAN on the same pairs, the same network and as many steps, three seeds each.

``python -m benchmarks.restoration_study`` trains what is missing of the arms, each in five to ten
minutes on one core, and writes ``results/laptop/restoration-ARM-SEED.json`` for chapter 32, and
weights into ``_build/restoration_study``. A call that was interrupted goes on at its last
checkpoint when it is called again.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from benchmarks import restoration_judge
from benchmarks.study import ROOT, sweep
from srlib import models, nanoct, prepare, train

WORK = ROOT / "_build" / "restoration_study"
RECIPE = train.RestorationRecipe()
ARMS = {  # method and changes of the recipe
    "InDI": ("InDI", {}),
    "CNN": ("CNN", {}),
    "GAN": ("GAN", {}),
    "nearest": ("InDI", {"upsample": "nearest"}),
    "nearest-no-tanh": ("InDI", {"upsample": "nearest", "tanh": False}),
    "bicubic": ("InDI", {"upsample": "bicubic"}),
    "bicubic-no-tanh": ("InDI", {"upsample": "bicubic", "tanh": False}),
}


@cache
def pair() -> prepare.Pair:
    """The two registered scans of the cell to train on."""
    (state,) = nanoct.cell(0, progress=False)
    return prepare.pair(state, progress=False)


def trained(arm: str, seed: int, work: Path, progress: bool = True) -> torch.nn.Module:
    """A network of one arm, with what a side-car of weights should tell."""
    scans, (method, changes) = pair(), ARMS[arm]
    part = prepare.parts(len(scans.lq))["train"]
    pairs = train.Pairs(scans.lq[part], scans.hq[part], scans.mask)
    recipe = replace(RECIPE, **changes)
    how = dict(out=work / f"{seed}.checkpoint", progress=progress)
    model = train.fit_restorer(pairs, method, seed, recipe, "cpu", **how)
    model.meta |= {"case": "sy5", "source": "twin", "profile": "laptop", "arm": arm}
    model.meta |= {"data_sha256": pairs.key(), "voxel_nm": 50.0, "limits": scans.limits}
    return model


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed, and judge it on slices that no training has seen."""
    model = trained(arm, seed, work)
    values = restoration_judge.judge(model, pair())
    values |= {
        "training_seconds": model.meta["seconds"],
        "losses": model.meta["losses"][::10],
        "critic losses": model.meta.get("critic losses", [])[::10],
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "residual": pair().residual,
    }
    for key in ("losses", "critic losses"):
        model.meta.pop(key, None)
    models.export(model, work / f"{arm}-{seed}.safetensors")
    return values


if __name__ == "__main__":
    sweep(__doc__, "restoration", ARMS, run, "twin", seeds=(0, 1, 2))
