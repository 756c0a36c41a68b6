"""What the synthetic materials share with the real ones, and what they do not.

``python -m benchmarks.material_study`` measures coarse scan and fine image of each case, once
on the authors' files and once on the synthetic material, and writes
``results/full/materials.json``. It takes three minutes on one core, and needs the files.
"""

import time
from pathlib import Path

import numpy as np
from skimage import measure

from srlib import data, datasets, metrics, results

CASES = ("case1", "case2", "case3", "case4")


def in_largest_body(labels: np.ndarray, phase: int) -> float:
    """Share of a phase in its largest body; voxels connect through shared faces."""
    bodies = measure.label(labels == phase, connectivity=1)
    return float(np.bincount(bodies.ravel())[1:].max() / np.count_nonzero(bodies))


def euler_2d(image: np.ndarray, phase: int) -> float:
    """Pieces minus holes of a phase in 10,000 pixels of an image."""
    return float(1e4 * measure.euler_number(image == phase, connectivity=1) / image.size)


def of_scan(case: data.Case) -> dict:
    """Topology and transport of a coarse volume."""
    found = {}
    for phase, name in enumerate(case.lr_phases):
        found[name] = {
            "fraction": float((case.lr == phase).mean()),
            "in the largest body": in_largest_body(case.lr, phase),
            "transport": [metrics.transport_efficiency(case.lr, phase, axis) for axis in range(3)],
        }
    return found


def of_image(case: data.Case) -> dict:
    """Fraction and Euler number of each phase in the first fine image."""
    image = case.hr[0]
    return {
        name: {"fraction": float((image == phase).mean()), "Euler number": euler_2d(image, phase)}
        for phase, name in enumerate(case.phases)
    }


if __name__ == "__main__":
    start, values = time.perf_counter(), {}
    for name in CASES:
        for source in ("real", "twin"):
            case = datasets.load(name, source)
            values.setdefault(name, {})[source] = {"scan": of_scan(case), "image": of_image(case)}
            print(name, source, values[name][source], flush=True)
    folder = Path(__file__).resolve().parents[1] / "results" / "full"
    how = dict(profile="full", source="real", seed=0, seconds=time.perf_counter() - start)
    print(results.write("materials", values, **how, out_dir=folder))
