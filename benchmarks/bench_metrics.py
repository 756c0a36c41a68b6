"""The numbers behind one violin figure, ours beside a plain loop over TauFactor."""

import contextlib
import io
import time

import numpy as np

from srlib import metrics
from srlib.synthetic import microstructures

N_CUBES = 256
N_TAUFACTOR = 6
EDGE = 64


def taufactor_loop(cubes: list[np.ndarray]) -> np.ndarray:
    """Transport efficiency of every phase of every cube, one TauFactor solver after another."""
    import taufactor

    found = np.zeros((len(cubes), 3))
    for i, cube in enumerate(cubes):
        for phase in np.unique(cube):
            if not metrics.percolates(cube, phase):
                continue
            solver = taufactor.Solver((cube == phase).astype(np.uint8), device="cpu")
            with contextlib.redirect_stdout(io.StringIO()):
                solver.solve(verbose=False)
            found[i, phase] = solver.D_rel[0]
    return found


def run() -> dict[str, float | str]:
    """Time the metrics on the fuel-cell twin; TauFactor gets some of the cubes, extrapolated."""
    volume = microstructures.sofc(0, (160, 160, 160))
    start = time.perf_counter()
    ours = metrics.cube_statistics(volume, N_CUBES, EDGE)
    seconds = time.perf_counter() - start

    cubes = list(metrics.random_cubes(volume, N_CUBES, EDGE))[:N_TAUFACTOR]
    taufactor_loop([cubes[0][:16, :16, :16]])
    start = time.perf_counter()
    theirs = taufactor_loop(cubes)
    loop = (time.perf_counter() - start) / N_TAUFACTOR * N_CUBES
    gap = np.abs(ours["transport"][:N_TAUFACTOR, 0] - theirs).max()

    image = microstructures.sofc(1, (1024, 1024))
    reference = metrics.reference_statistics(image)
    start = time.perf_counter()
    metrics.compare(volume, reference)
    return {
        f"{N_CUBES} cubes of {EDGE}^3, all metrics (s)": seconds,
        f"the same, plain TauFactor loop (s, from {N_TAUFACTOR} cubes)": loop,
        "times faster": loop / seconds,
        "largest difference in transport efficiency": gap,
        "compare a 160^3 volume with an image (s)": time.perf_counter() - start,
    }
