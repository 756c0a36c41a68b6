"""SuperRes at scale factor 3 on a sandstone that was scanned twice: coarse scan and truth are real.

``python -m benchmarks.sandstone_study`` trains each arm and seed in about five minutes on one core,
from the coarse scan of one half of a slab and fine slices of the other half, and judges the output
against the fine scan of the first. It writes ``results/full/sandstone-ARM-SEED.json``.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu

from benchmarks.study import sweep
from srlib import data, datasets, metrics, training
from srlib.inference import interpolation, superres
from srlib.physics import downsample

SCALE, UM = 3, 2.0
LEARN, JUDGE = slice(0, 105), slice(135, 210)  # coarse voxels along x; the gap is a pore wide
PLANES = 6  # fine images along each axis
ARMS = ("real", "simulated")  # the coarse scan that is learned from


def finer(part: slice) -> slice:
    """The fine voxels of coarse ones."""
    return slice(SCALE * part.start, SCALE * part.stop)


def otsu(grey: np.ndarray) -> np.ndarray:
    """Pore 0 and grain 1."""
    return (grey > threshold_otsu(grey)).astype(np.uint8)


@cache
def parts() -> dict[str, np.ndarray]:
    """Phases of the half that is judged, its grey coarse scan, and phases of the other half.

    Raises:
        ValueError: if the scans are not here.
    """
    scans = datasets.sandstone_scans()
    if scans is None:
        raise ValueError("the scans are not here: run 'python data/download.py edsr'")
    low, high = scans
    binned = downsample(torch.from_numpy(high)[None, None].float(), SCALE)[0, 0].numpy()
    fine = otsu(high)
    return {
        "truth": fine[..., finer(JUDGE)],
        "learned": fine[..., finer(LEARN)],
        "real": otsu(low)[..., JUDGE],
        "simulated": otsu(binned)[..., JUDGE],
        "grey": low[..., JUDGE],
        "threshold": threshold_otsu(low),
    }


def case(arm: str) -> data.Case:
    """The coarse scan of the half that is judged, and slices of the other."""
    fine = parts()["learned"]
    images = [
        np.take(fine, round((k + 0.5) * n / PLANES), axis)
        for axis, n in enumerate(fine.shape)
        for k in range(PLANES)
    ]
    phases = ["pore", "grain"]
    return data.Case(f"sandstone-{arm}", images, parts()[arm], SCALE, phases, phases, mode="blur")


def measure(labels: np.ndarray) -> dict:
    """Porosity, surface, and transport of the pores along z, y and x."""
    return {
        "porosity": float(metrics.volume_fractions(labels, 2)[0]),
        "area": float(metrics.interphase_areas(labels, 2)[0, 1]),
        "transport": [metrics.transport_efficiency(labels, 0, axis) for axis in range(3)],
    }


@cache
def truth() -> tuple[np.ndarray, dict]:
    """The fine volume that an output has, and its quantities."""
    inside = slice(SCALE, -SCALE)
    labels = parts()["truth"][inside, inside, inside]
    return labels, measure(labels)


def describe(labels: np.ndarray) -> dict:
    """How far a fine volume is from the truth, relative to it but for voxels and two-point."""
    known, true = truth()
    found = measure(labels)
    curves = [[metrics.two_point(v, 0, 0, axis, 30) for axis in range(3)] for v in (labels, known)]
    errors = {key: found[key] / true[key] - 1 for key in ("porosity", "area")}
    off = np.divide(found["transport"], true["transport"]) - 1
    return errors | {
        "voxels wrong": float((labels != known).mean()),
        "two-point": float(np.abs(np.subtract(*curves)).mean()),
        "transport": float(np.abs(off).mean()),
        "transport by axis": off.tolist(),
    }


@cache
def baselines() -> dict[str, dict]:
    """The same of interpolation of either scan, and of its grey values."""
    given, inside = parts(), slice(SCALE, -SCALE)
    made = {
        f"{how}, {kind}": interpolation.interpolate(given[kind], 2, SCALE, how)
        for how in ("nearest", "linear")
        for kind in ARMS
    }
    grey = ndimage.zoom(given["grey"].astype(float), SCALE, order=3, mode="nearest", grid_mode=True)
    made["grey cubic, real"] = (grey > given["threshold"]).astype(np.uint8)
    return {key: describe(v[inside, inside, inside]) for key, v in made.items()}


def run(arm: str, seed: int, work: Path) -> dict:
    """Train on one kind of coarse scan, and judge on both."""
    changes = training.STUDY | {"window": 39}
    model = training.fit_superres(case(arm), "laptop", seed, "cpu", out=work, **changes)
    judged = {f"on {k}": describe(superres.superres(model, parts()[k], seed)) for k in ARMS}
    return {
        **judged,
        "baselines": baselines(),
        "truth": truth()[1],
        "iterations": model.meta["recipe"]["iterations"],
        "threads": model.meta["threads"],
    }


if __name__ == "__main__":
    sweep(__doc__, "sandstone", ARMS, run, "real", (0, 1, 2))
