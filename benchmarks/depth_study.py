"""Depth of FIB-SEM stacks: interpolation, CNN and SRGAN on twins and on real structures.

``python -m benchmarks.depth_study`` trains what is missing of the arms, each in two to five minutes
on one core, and writes ``results/full/depth-ARM-SEED.json``, and weights into
``_build/depth_study``. An arm is ``STACK-N-METHOD``. The seed is that of the volume *and* of the
training. A call that was interrupted goes on at its last checkpoint.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.study import sweep
from srlib import metrics, models, training
from srlib.data import normalization
from srlib.inference import depth, restoration
from srlib.physics import sectioning
from srlib.synthetic import filled_rubber
from srlib.training.depth import STEPS

LEARN, JUDGE = slice(0, 128), slice(136, 256)  # planes: learnt from, and judged
FACTORS = (2, 4, 8)
INDI_STEPS = 4
LAG = 40  # voxels of the two-point functions
CHANGES = {
    "SRGAN": {},
    "CNN": {},
    "CNN-long": {"steps": 1.75},  # as much time as the SRGAN, which trains a critic as well
    "SRCNN": {},
    "tile-32": {"tile": 32, "batch": 49},
    "tile-96": {"tile": 96, "batch": 5},
    "SRGAN-x4": {"steps": 4},
}
ARMS = [f"{name}-{n}-interpolation" for name in filled_rubber.LOOKS for n in FACTORS]
ARMS += [f"{name}-{n}-SRGAN" for name in ("harder", "easy") for n in FACTORS]
ARMS += [f"harder-{n}-CNN" for n in FACTORS] + [f"harder-{n}-SRCNN" for n in FACTORS]
ARMS += [
    f"{name}-{n}-{how}"
    for name in filled_rubber.GREYS
    for n in FACTORS
    for how in ("interpolation", "SRGAN")
]
ARMS += [
    f"{name}-4-{how}" for name in ("copolymer", "lamellae") for how in ("interpolation", "SRGAN")
]
ARMS += [f"harder-8-{how}" for how in ("CNN-long", "tile-32", "tile-96", "SRGAN-x4", "InDI")]
ARMS += [f"milled-{n}-SRGAN" for n in FACTORS]


def source(arm: str) -> str:
    """Whether the structure of an arm was measured."""
    return "real" if arm.startswith(tuple(filled_rubber.GREYS)) else "twin"


@cache
def stack(name: str, seed: int) -> np.ndarray:
    """A volume with every section."""
    return filled_rubber.stack(name, seed, progress=False)


def judge(found: np.ndarray, truth: np.ndarray) -> dict:
    """Errors of a restored volume, in grey and above the threshold."""
    grey = np.rint(np.clip(found, 0, 255)).astype(np.uint8)
    at = filled_rubber.THRESHOLD
    solid, true = ((x >= at).astype(np.uint8) for x in (grey, truth))
    far = [
        np.abs(
            metrics.two_point(solid, 1, 1, axis, LAG) - metrics.two_point(true, 1, 1, axis, LAG)
        ).max()
        for axis in range(3)
    ]
    area, bodies = (
        (f(grey, at) / f(truth, at)) for f in (metrics.isosurface, metrics.count_bodies)
    )
    return {
        "rms": metrics.octants(metrics.rms_error, grey, truth),
        "flipped": metrics.octants(
            lambda a, b: metrics.threshold_disagreement(a, b, at), grey, truth
        ),
        "surface %": 100 * (area - 1),
        "particles %": 100 * (bodies - 1),
        "solid, points": 100 * float(solid.mean() - true.mean()),
        "two-point, depth": float(far[0]),
        "two-point, across": float(max(far[1:])),
    }


def plain(few: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """What needs no learning: sections where they are, and where OpenCV takes them to be."""
    found = {"input": sectioning.repeat_sections(few, n)}
    found |= {how: sectioning.fill(few, n, how) for how in ("linear", "cubic", "spline")}
    return found | {
        f"{how}, OpenCV": sectioning.fill(few, n, how, centres="opencv")
        for how in ("linear", "cubic")
    }


def small_steps(learnt: np.ndarray, few: np.ndarray, n: int, seed: int, work: Path) -> dict:
    """InDI of chapter 30, from an interpolated plane to a sharp one, in planes of both kinds."""
    bounds = normalization.grey_limits(learnt)
    coarse = sectioning.fill(sectioning.decimate(learnt, n, axis=1), n, axis=1)
    scaled = (normalization.scaled(x, bounds) for x in (coarse, learnt))
    pairs = training.Pairs(*scaled, np.ones(learnt.shape[1:], bool), turn=False)
    recipe = training.RestorationRecipe(steps=1500, crop=64, batch=8)
    model = training.fit_restorer(pairs, "InDI", seed, recipe, out=work / f"{seed}.checkpoint")
    start = normalization.scaled(sectioning.fill(few, n), bounds)
    found = {}
    for planes, axis in (("xz", 1), ("yz", 2)):
        better = restoration.restore(model, np.moveaxis(start, axis, 0), INDI_STEPS)
        found[planes] = np.moveaxis(better, 0, axis)
    found["both"] = (found["xz"] + found["yz"]) / 2
    low, high = bounds
    for volume in found.values():
        volume[:] = (volume + 1) / 2 * (high - low) + low
        volume[n // 2 :: n] = few
    return found | {"model": model}


def run(arm: str, seed: int, work: Path) -> dict:
    """One arm with one seed."""
    name, n, how = arm.split("-", 2)
    n, whole = int(n), stack(name, seed)
    truth, few = whole[JUDGE], sectioning.decimate(whole[JUDGE], n)
    if how == "interpolation":
        found = plain(few, n)
        if n > 2:
            first = sectioning.decimate(truth, n, offset=0)
            found["input, first of n"] = sectioning.repeat_sections(first, n)
        return {method: judge(volume, truth) for method, volume in found.items()}
    learnt = sectioning.decimate(whole[LEARN], n)
    if how == "InDI":
        ways = small_steps(learnt, few, n, seed, work)
        model, tiles = ways.pop("model"), 0
    else:
        steps = int(STEPS[n] * CHANGES[how].get("steps", 1))
        recipe = replace(training.DepthRecipe(), **CHANGES[how] | {"steps": steps})
        method = how.split("-")[0] if how.startswith(training.DEPTH_METHODS) else "SRGAN"
        model = training.fit_depth(learnt, n, method, seed, recipe, out=work / f"{seed}.checkpoint")
        ways = {planes: depth.restore(model, few, planes=planes) for planes in depth.PLANES}
        tiles = recipe.batch * recipe.steps
    model.meta |= {"case": "rubber", "stack": name, "source": source(arm)}
    model.meta |= {"voxel_nm": filled_rubber.VOXEL_NM}
    values = {planes: judge(volume, truth) for planes, volume in ways.items()}
    losses = np.array(model.meta.pop("losses"))
    model.meta.pop("critic losses", None)
    model.meta["loss"] = losses[: len(losses) // 50 * 50].reshape(-1, 50).mean(1).tolist()
    models.export(model, work / f"{seed}.safetensors")
    return values | {
        "training_seconds": model.meta["seconds"],
        "threads": torch.get_num_threads(),
        "numbers": model.meta["numbers"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "tiles": tiles,
        "loss": model.meta["loss"],
    }


if __name__ == "__main__":
    sweep(__doc__, "depth", ARMS, run, source, (0,))
