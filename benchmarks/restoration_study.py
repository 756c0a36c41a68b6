"""InDI, a CNN and a GAN on the same pairs, the same network and as many steps, three seeds each.

``python -m benchmarks.restoration_study`` trains what is missing of the arms, each in five to ten
minutes on one core, and writes ``results/full/restoration-ARM-SEED.json`` for chapter 32, and
weights into ``_build/restoration_study``. A call that was interrupted goes on at its last
checkpoint when it is called again.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks import restoration_judge
from benchmarks.study import ROOT, sweep
from srlib import models, training
from srlib.synthetic import nanoct

WORK = ROOT / "_build" / "restoration_study"
RECIPE = training.RestorationRecipe()
PART = (slice(0, 27), slice(80, 240), slice(80, 240))  # a 64th of the LQ volume, in its middle
ARMS = {  # method, changes of the recipe, what is learnt from
    "InDI": ("InDI", {}, "pair"),
    "CNN": ("CNN", {}, "pair"),
    "GAN": ("GAN", {}, "pair"),
    "nearest": ("InDI", {"upsample": "nearest"}, "pair"),
    "nearest-no-tanh": ("InDI", {"upsample": "nearest", "tanh": False}, "pair"),
    "bicubic": ("InDI", {"upsample": "bicubic"}, "pair"),
    "bicubic-no-tanh": ("InDI", {"upsample": "bicubic", "tanh": False}, "pair"),
    "InDI-64th": ("InDI", {}, "64th"),
    "CNN-64th": ("CNN", {}, "64th"),
    "GAN-64th": ("GAN", {}, "64th"),
    "InDI-same": ("InDI", {}, "same"),
    "InDI-dual": ("InDI", {}, "dual"),
    "diffusion": ("diffusion", {}, "pair"),
    "LQ": (None, {}, "nothing"),  # not trained: the scan as it is
}


@cache
def pair(seed: int = 0, state: int = 0) -> nanoct.Pair:
    """The two registered scans of a cell, the one to train on if not said otherwise."""
    (scans,) = nanoct.cell(seed, (state,), progress=False)
    return nanoct.pair(scans, progress=False)


def learnt_from(what: str) -> training.Pairs:
    """The slices to train on.

    ``"pair"``: of cell 0. ``"64th"``: a block in the middle of them. ``"same"``: of the pristine
    state of cell 1, which is used in situ afterwards. ``"dual"``: of cell 0, half of the slices
    pristine and half charged.
    """
    scans = pair(1) if what == "same" else pair()
    part = nanoct.parts(len(scans.lq))["train"]
    lq, hq, mask = scans.lq[part], scans.hq[part], scans.mask
    if what == "64th":
        lq, hq, mask = lq[PART], hq[PART], mask[PART[1:]]
    if what == "dual":
        late = pair(0, 2)
        lq, hq = (
            np.concatenate([a[::2], b[part][1::2]]) for a, b in ((lq, late.lq), (hq, late.hq))
        )
    return training.Pairs(lq, hq, mask)


def trained(arm: str, seed: int, work: Path, progress: bool = True) -> torch.nn.Module:
    """A network of one arm, with what a side-car of weights should tell."""
    method, changes, what = ARMS[arm]
    pairs, recipe = learnt_from(what), replace(RECIPE, **changes)
    how = dict(out=work / f"{seed}.checkpoint", progress=progress)
    if method == "diffusion":
        model = training.fit_diffusion(pairs, seed, recipe, "cpu", **how)
    else:
        model = training.fit_restorer(pairs, method, seed, recipe, "cpu", **how)
    model.meta |= {"case": "sy5", "source": "twin", "profile": "laptop", "arm": arm}
    model.meta |= {"data_sha256": pairs.key(), "voxel_nm": 50.0, "limits": pair().limits}
    return model


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed, and judge it on slices that no training has seen."""
    if arm == "LQ":
        return {"in situ": restoration_judge.in_situ(None), "residual": pair().residual}
    model = trained(arm, seed, work)
    if arm == "diffusion":
        values = {"calls": restoration_judge.calls(model, pair())}
    else:
        values = restoration_judge.judge(model, pair(), whole=arm in training.METHODS)
        values["in situ"] = restoration_judge.in_situ(model)
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
