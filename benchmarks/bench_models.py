"""The published networks against ours, side by side in one run on the CPU."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tqdm.std import tqdm

from srlib import datasets, models, precision, training
from srlib.inference import superres

CPU = torch.device("cpu")


def _seconds(work, repeats: int) -> float:
    work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def step_seconds(profile: str, repeats: int) -> float:
    """Seconds of one training iteration that updates critic and generator."""
    case = datasets.load("case3", "twin", edge=128)
    trainer = training.SuperResTrainer(case, training.PROFILES[profile], 0, CPU)

    def work() -> None:
        trainer.iteration = 0  # every iteration of this measurement updates the generator
        trainer.step()

    return _seconds(work, repeats)


def _voxels_per_second(model, edge: int) -> float:
    lr = datasets.load("case3", "twin", edge=4 * edge).lr
    return (4 * edge) ** 3 / _seconds(
        lambda: superres.superres(model, lr, crop=0, progress=False), 1
    )


def _as_published(model) -> float:
    """Fine voxels kept per second when patches of 32 coarse voxels overlap by half.

    The public code keeps the inner 64^3 of the 128^3 fine voxels that it computes for a patch.
    """
    x = torch.zeros(1, 4, 32, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), precision.autocast():
        return 64**3 / _seconds(lambda: model.logits(x), 1)


def peak_gb() -> float:
    """Peak resident memory of this process so far, in GB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands the parent's ru_maxrss on to a new process, VmHWM it does not
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def peak_memory(edge: int) -> tuple[float, float]:
    """Peak resident memory (GB) and seconds to make ``edge``^3 voxels; called in a new process."""
    model = models.SuperResLite(3, 3)
    lr = np.random.default_rng(0).integers(0, 3, (edge // 4,) * 3, dtype=np.uint8)
    start = time.perf_counter()
    superres.superres(model, lr, crop=0, progress=False)
    seconds = time.perf_counter() - start
    return peak_gb(), seconds


def run() -> dict:
    """Seconds per generator step, voxels per second, and peak memory of a 512^3 inference."""
    bar = tqdm(total=6, desc="networks")
    out = {}
    for name, profile, repeats in (("ours", "laptop", 10), ("paper's", "full", 1)):
        out[f"generator step, {name} (s)"] = step_seconds(profile, repeats)
        bar.update()
    out["generator step, ratio"] = (
        out["generator step, paper's (s)"] / out["generator step, ours (s)"]
    )
    for name, model, edge in (
        ("ours", models.SuperResLite(3, 3), 48),
        ("paper's", models.SuperRes(3, 3), 16),
    ):
        out[f"inference, {name} (voxels/s)"] = _voxels_per_second(model, edge)
        bar.update()
    published = "inference, paper's in its overlapping patches (voxels/s)"
    out[published] = _as_published(models.SuperRes(3, 3).eval())
    bar.update()
    ours = out["inference, ours (voxels/s)"]
    out["inference, ratio in our tiles"] = ours / out["inference, paper's (voxels/s)"]
    out["inference, ratio as published"] = ours / out[published]
    code = "from benchmarks.bench_models import peak_memory; print(*peak_memory(512))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    out["512^3 inference, peak (GB)"], out["512^3 inference (s)"] = map(float, done.stdout.split())
    bar.update()
    bar.close()
    return out
