"""Several processes train one model: two of them, on the CPU, started by torchrun."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srlib import datasets, models, training

ROOT = Path(__file__).parents[1]
TINY = dict(iterations=6, check_every=3, width=4, slices=2, progress=False)
SCRIPT = """
import os, sys
from pathlib import Path
import torch
from srlib import datasets, models, training
from test_distributed import TINY

torch.set_num_threads(1)
out, rank = Path(sys.argv[1]), int(os.environ["RANK"])
case = datasets.load("case3", "twin", seed=1, edge=64)

def fit(name, **changes):
    model = training.fit_superres(case, "smoke", 3, "cpu", **{**TINY, **changes})
    models.save(model, out / f"{name}-{rank}.safetensors", model.meta)

saves, save = [], training.SuperResTrainer.save
training.SuperResTrainer.save = lambda self, path: (saves.append(path), save(self, path))
fit("own", out=out, norm=True, volume_fraction_weight=1000.0)
(out / f"saves-{rank}").write_text(str(len(saves)))
endless = dict(iterations=10**6, check_every=10**6)
fit("late", seconds=0.5 if rank == 0 else 500, **endless)
os.environ["RANK"] = "0"  # both draw the same windows: the mean gradient is that of one process
fit("equal")
torch.distributed.destroy_process_group()
"""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return models.load(path).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("distributed")
    script = out / "fit.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = "-m torch.distributed.run --nproc-per-node 2 --master-addr 127.0.0.1 --master-port"
    done = subprocess.run(
        [sys.executable, *launch.split(), str(port), script, out],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def alone() -> dict[str, torch.Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    case = datasets.load("case3", "twin", seed=1, edge=64)
    model = training.fit_superres(case, "smoke", 3, "cpu", **TINY)
    torch.set_num_threads(threads)
    return model.state_dict()


def test_both_processes_end_with_the_same_weights(folder):
    assert same(weights(folder / "own-0.safetensors"), weights(folder / "own-1.safetensors"))


def test_each_process_draws_its_own_windows(folder, alone):
    assert not same(weights(folder / "own-0.safetensors"), alone)


def test_gradients_are_averaged(folder, alone):
    assert same(weights(folder / "equal-0.safetensors"), alone)


def test_all_stop_when_the_time_of_one_is_up(folder):
    ends = [models.load(folder / f"late-{rank}.safetensors").meta for rank in (0, 1)]
    assert ends[0]["history"][-1]["iteration"] == ends[1]["history"][-1]["iteration"]
    assert 0 < ends[0]["history"][-1]["iteration"] < 10_000


def test_one_process_writes_the_checkpoint(folder):
    """At the start and at both checks."""
    assert [int((folder / f"saves-{rank}").read_text()) for rank in (0, 1)] == [3, 0]
    assert [p.name for p in folder.glob("*.checkpoint")] == ["case3-twin-3.checkpoint"]
