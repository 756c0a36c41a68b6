"""Memory and time of one generator step at scale factor 8, in the ways to make it fit.

Whole, with recomputed layers, window by window, and as a pipeline of two and three processes.
"""

import json
import os
import subprocess
import sys
import time

from tqdm.std import tqdm

from benchmarks import pipeline
from benchmarks.bench_models import peak_gb
from srlib.inference.memory import peak_bytes
from srlib.precision import autocast

WAYS = ("plain", "recompute", "windows")
PIPELINED = 4  # windows that go through a pipeline in a step


def step(generator, edge: int, windows: int = 1) -> None:
    """Gradients of the anchor for coarse windows ``edge``^3, one window after another."""
    for _ in range(windows):
        x, lr = pipeline.batch(1, edge)
        with autocast():
            sr = generator(x)
        (pipeline.loss(sr, lr) / windows).backward()


def predict(way: str, edge: int, windows: int = 1) -> int:
    """Peak bytes of a step; ``way`` is one of ``WAYS``."""
    generator = pipeline.build()
    generator.recompute = way == "recompute"
    return peak_bytes(lambda: step(generator, edge, min(windows, 2)))


def _take(way: str, edge: int, windows: int) -> None:
    """Print peak memory of a step above what loading takes, and seconds; in a new process."""
    generator = pipeline.build()
    generator.recompute = way == "recompute"
    step(generator, 2)
    before, start = peak_gb(), time.perf_counter()
    step(generator, edge, windows)
    print(json.dumps([1e9 * (peak_gb() - before), time.perf_counter() - start]))


def measure(way: str, edge: int, windows: int = 1) -> tuple[float, float]:
    """Measured peak bytes, and seconds, of a step of a fresh process.

    Freed blocks go back to the system at once. By default the C library of Linux keeps some for
    later, and what a step with recomputed layers takes then varies by chance (1.0 to 1.4 times
    the prediction in 16 runs).
    """
    call = f"from benchmarks.bench_memory import _take; _take({way!r}, {edge}, {windows})"
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", call], env=env, capture_output=True, text=True, check=True
    )
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def rows(edge: int = 8, windows: int = 64, processes: tuple[int, ...] = (2, 3)) -> list[dict]:
    """The table: a row for each way, and for each process of a pipeline.

    Args:
        edge: Of a window, in coarse voxels; 8 is 8^3 to 64^3.
        windows: Of the way of that name; a pipeline has four.
        processes: Numbers of processes of the pipelines.

    Returns:
        Rows with ``way``, ``windows``, ``predicted_mb`` and ``measured_mb`` of a process above
        what it takes to load, and ``seconds`` of the step.
    """
    table = []

    def add(way: str, count: int, said: float, took: float, seconds: float) -> None:
        megabytes = {"predicted_mb": said / 1e6, "measured_mb": took / 1e6}
        table.append({"way": way, "windows": count, **megabytes, "seconds": seconds})

    bar = tqdm(total=len(WAYS) + len(processes), desc="memory")
    for way in WAYS:
        count = windows if way == "windows" else 1
        add(way, count, predict(way, edge, count), *measure(way, edge, count))
        bar.update()
    for number in processes:
        found = pipeline.run(number, edge, PIPELINED)
        for rank, (said, took) in enumerate(zip(found["predicted"], found["bytes"], strict=True)):
            way = f"pipeline, process {rank + 1} of {number}"
            add(way, PIPELINED, said, took, found["seconds"])
        bar.update()
    bar.close()
    return table


def whole(edge: int = 32) -> dict[str, float]:
    """Predicted peak (GB) of each way for ``edge``^3 at once; "windows" are of 8^3."""
    said = {"plain": predict("plain", edge), "recompute": predict("recompute", edge)}
    said["windows"] = predict("windows", 8, 2)
    for number in (2, 3):
        for rank, size in enumerate(pipeline.predicted(number, edge, 1)):
            said[f"pipeline, process {rank + 1} of {number}"] = size
    return {way: size / 1e9 for way, size in said.items()}


def run() -> dict[str, float]:
    """Memory and seconds of a step at 8^3 to 64^3, and predictions for 32^3 to 256^3."""
    out = {}
    for row in rows():
        name = f"8^3, {row['way']}, {row['windows']} window{'s' * (row['windows'] > 1)}"
        out[f"{name}, measured (MB)"] = row["measured_mb"]
        out[f"{name}, predicted (MB)"] = row["predicted_mb"]
        out[f"{name} (s)"] = row["seconds"]
    return out | {f"32^3, {way}, predicted (GB)": size for way, size in whole().items()}
