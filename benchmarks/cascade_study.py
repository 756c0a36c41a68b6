"""Rock x16 by two networks: from an overview at 7 um to 3.5 um, and on to 0.4375 um (FW-14).

``python -m benchmarks.cascade_study`` trains the first one with slices of a scan of another place,
takes the shipped one behind it, and writes ``results/full/rock-x16-SEED.json``.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks.study import sweep
from srlib import metrics, models, training
from srlib.data import Case, one_hot
from srlib.inference import memory, superres
from srlib.physics import downsample
from srlib.synthetic import sandstone
from srlib.training import STUDY

LEARN = 64  # voxels of 3.5 um an edge of the scans that the first network learns from
JUDGE = 36  # of the parts that are judged
TWICE = 2 * sandstone.SCALE


def overview(scan: np.ndarray) -> np.ndarray:
    """A scan with voxels twice as large: in each the phase of the largest share."""
    share = downsample(one_hot(scan, len(sandstone.PHASES))[None], 2, "blur")[0]
    return share.argmax(0).numpy().astype(np.uint8)


def case(here: np.ndarray, there: np.ndarray) -> Case:
    """What the first network learns from: an overview of ``here``, slices of the scan ``there``."""
    planes = range(2, len(there), 8)
    slices = [there.take(k, axis) for axis in range(3) for k in planes]
    lr = overview(here)
    how = dict(scale_factor=2, phases=sandstone.PHASES, lr_phases=sandstone.PHASES, source="twin")
    return Case("rock-overview", slices, lr, truth=here, voxel_nm=8 * sandstone.VOXEL_NM, **how)


def judge(first, second, place: int, seed: int) -> dict:
    """Errors at one place of the overview, of both networks, and of the second one alone."""
    found = sandstone.case("auto", place, edge=JUDGE, images=1)
    scan, ring = found.cleaned().lr, TWICE + sandstone.SCALE
    truth = found.truth[(slice(ring, -ring),) * 3]
    large = overview(scan)
    start = time.perf_counter()
    middle = superres.superres(first, large, seed, progress=False)
    volume = superres.superres(second, middle, seed, progress=False)
    seconds = time.perf_counter() - start
    inner = scan[(slice(2, -2),) * 3]
    volumes = {
        "overview": np.kron(large, np.ones((TWICE,) * 3, np.uint8))[(slice(ring, -ring),) * 3],
        "two networks": volume,
        "second network alone": superres.superres(second, inner, seed, progress=False),
    }
    errors = {
        name: metrics.class_errors(v, truth, sandstone.PHASES, pair=sandstone.PAIR)
        for name, v in volumes.items()
    }
    return {"errors": errors, "seconds": seconds, "scan found": float((middle == inner).mean())}


def run(arm: str, seed: int, work: Path) -> dict:
    """Train the first network with one seed, and judge both at two places."""
    here, there = (sandstone.case("auto", p, edge=LEARN, images=1).cleaned().lr for p in (0, 2))
    learn = case(here, there)
    first = training.fit_superres(learn, "laptop", seed, out=work / str(seed), **STUDY)
    second = models.load("rock-twin-0")
    whole = memory.of_inference(first, (34,) * 3), memory.of_inference(second, (66,) * 3)
    return {
        "places": {str(place): judge(first, second, place, seed) for place in (0, 1)},
        "GB for 32^3 to 512^3 in tiles": max(whole) / 1e9,
        "training_seconds": first.meta["seconds"],
        "parameters": sum(p.numel() for p in first.parameters()),
    }


if __name__ == "__main__":
    sweep(__doc__, "rock", ["x16"], run, "twin", seeds=(0,))
