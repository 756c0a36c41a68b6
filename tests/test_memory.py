"""Memory that is known before it is allocated, and the ways to need less of it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from test_infer import labels

from benchmarks import bench_memory, pipeline
from srlib import training
from srlib.data import Case
from srlib.inference import memory, superres, tiling
from srlib.inference.streaming import superres_to_file
from srlib.losses import gradient_penalty
from srlib.models import SuperResLite, SuperResLiteCritic
from srlib.physics import downsampling

ROOT, CPU = Path(__file__).parents[1], torch.device("cpu")
SMALL = dict(width=4, slices=2, validation_size=8, iterations=1, progress=False)


def rock(edge: int = 24) -> Case:
    """Four phases at scale factor 8, without structure."""
    names = ["pore", "quartz", "feldspar", "clay"]
    image = np.random.default_rng(0).integers(0, 4, (8 * edge, 8 * edge), np.uint8)
    return Case("rock", [image], labels((edge,) * 3, 4), 8, names, names)


def recipe(**changes) -> training.Recipe:
    return replace(training.PROFILES["laptop"], **{**training.laptop_changes(rock()), **changes})


@pytest.fixture
def little(monkeypatch):
    """A machine with so many bytes."""
    return lambda size: monkeypatch.setattr(memory, "available_bytes", lambda device: size)


# Counting


def test_what_is_alive_at_once_is_counted():
    def work() -> None:
        a = torch.zeros(1000)  # 4000 bytes
        b = a.double() + 1  # 8000 for the copy, 8000 for the sum
        del a
        b.view(10, 100)[:, 3].mul_(2)  # nothing new
        torch.empty(2000)  # 8000 beside b's

    assert memory.peak_bytes(work) == 4000 + 8000 + 8000


def test_a_backward_pass_and_a_second_one_are_counted():
    weight = torch.ones(1000, requires_grad=True)

    def forward() -> torch.Tensor:
        x = torch.rand(1000)
        return (weight * x).square().square().sum()

    # x, its product and the square of that are kept for the backward pass
    assert memory.peak_bytes(forward) == pytest.approx(4 * 4000, abs=8)
    once = memory.peak_bytes(lambda: torch.autograd.grad(forward(), weight))
    twice = memory.peak_bytes(
        lambda: torch.autograd.grad(forward(), weight, create_graph=True)[0].sum().backward()
    )
    assert 4 * 4000 < once < twice
    assert weight.grad is not None and torch.equal(weight.detach(), torch.ones(1000))


def test_the_second_derivatives_of_a_gradient_penalty_are_counted():
    critic = SuperResLiteCritic(4)

    def penalty() -> None:
        real, fake = torch.rand(8, 4, 64, 64), torch.rand(8, 4, 64, 64)
        gradient_penalty(critic, real, fake).backward()

    def first() -> None:
        x = torch.rand(16, 4, 64, 64).chunk(2)[0].clone().requires_grad_()
        torch.autograd.grad(critic(x).sum(), x)

    assert memory.peak_bytes(penalty) > 1.5 * memory.peak_bytes(first)


def test_half_precision_takes_half():
    net, size = torch.nn.Conv3d(1, 8, 3, padding=1), 4 * 32**3

    def forward(enabled: bool) -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            net(torch.rand(1, 1, 32, 32, 32))

    whole, half = (memory.peak_bytes(lambda e=e: forward(e)) for e in (False, True))
    assert whole == 9 * size
    assert half == pytest.approx(size + size / 2 + 8 * size / 2, rel=0.01)


def test_measured_memory_is_as_predicted():
    for way in ("plain", "recompute"):
        measured, _ = bench_memory.measure(way, 12)
        assert measured == pytest.approx(bench_memory.predict(way, 12), rel=0.35), way


# Predictions


def test_a_window_too_large_for_any_laptop_is_known_in_seconds():
    training.of_training(rock(), recipe(window=64))  # loads what torch needs
    start = time.process_time()
    small, large = (training.of_training(rock(68), recipe(window=w)) for w in (64, 512))
    assert large > 20e9 and large > 300 * small
    assert memory.of_inference(SuperResLite(4, 4, 8), (66,) * 3, tile=64) > 5e9
    assert time.process_time() - start < 20


def test_twice_a_factor_of_eight_is_known_too():
    """From 16^3 to 256^3 and from 32^3 to 512^3: networks for scale factors 8 and 2 in a row."""
    one, two = SuperResLite(4, 4, 8), SuperResLite(4, 4, 2, noise_channels=0)

    def step(edge: int) -> None:
        two(one(torch.rand(1, 5, edge, edge, edge))).sum().backward()

    assert memory.peak_bytes(lambda: step(32)) > 7 * memory.peak_bytes(lambda: step(16)) > 20e9


def test_an_iteration_counts_its_networks_optimisers_slices_and_window():
    case = rock(20)
    base = training.of_training(case, recipe(width=4, window=64))
    assert training.of_training(case, recipe(width=4, window=64, slices=None)) > 1.5 * base
    assert training.of_training(case, recipe(width=4, window=96)) > 2 * base
    tiny = recipe(width=32, window=16, crop=0, halo=0, slices=1)
    trainer = training.SuperResTrainer(case, tiny, 0, CPU)
    nets = (trainer.generator, trainer.critics[0])
    weights = sum(p.nbytes for net in nets for p in net.parameters())
    # itself, an average, a gradient, two of Adam; not all gradients at once
    assert training.of_training(case, tiny) > 4 * weights


def test_a_training_goes_on_after_its_prediction():
    """What is kept for the next call, such as the matrix of a blur, has its values."""
    case, small = rock(12), recipe(width=4, window=32, slices=2)
    downsampling._axis_matrix.cache_clear()
    training.of_training(case, small)
    assert training.SuperResTrainer(case, small, 0, CPU).step()["gap"] != 0


def test_a_prediction_changes_no_model():
    model = SuperResLite(3, 3, 8, width=4, norm=True, fine_noise=True).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    memory.of_inference(model, (20, 20, 20))
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_tile_is_counted_with_its_halo_and_noise():
    plain = SuperResLite(3, 3, 8, width=4)
    noisy = SuperResLite(3, 3, 8, width=4, fine_noise=True)
    one, half = (memory.of_inference(plain, (99,) * 3, tile=t) for t in (16, 8))
    assert one > 4 * half and memory.of_inference(noisy, (99,) * 3, tile=16) > one + 4 * 128**3
    assert memory.of_inference(plain, (10, 10, 10)) < memory.of_inference(plain, (10, 10, 99))


# Errors before any work


def test_an_output_or_a_tile_that_does_not_fit_is_refused_before_any_work(little, monkeypatch):
    model, lr = SuperResLite(3, 3, 8, width=4), labels((18, 18, 18))
    monkeypatch.setattr(tiling, "tile_at", lambda *_: pytest.fail("work was done"))
    little(2_000_000)
    with pytest.raises(
        MemoryError,
        match=r"\(128, 128, 128\) voxels needs 0.0 GB.*srlib.inference.streaming",
    ):
        superres.superres(model, lr)
    little(100_000_000)
    with pytest.raises(MemoryError, match="a tile of 16 coarse voxels .* use a smaller tile"):
        superres.superres(model, lr)


def test_a_smaller_tile_fits(little):
    model, lr = SuperResLite(3, 3, 8, width=4), labels((18, 18, 18))
    little(100_000_000)
    assert superres.superres(model, lr, tile=4, progress=False).shape == (128, 128, 128)


def test_an_output_in_a_file_needs_memory_for_a_tile_only(little, tmp_path):
    model = SuperResLite(3, 3, 2, width=4, refine_channels=0)
    tifffile.imwrite(tmp_path / "lr.tif", labels((12, 12, 12)))
    little(5000)
    with pytest.raises(MemoryError, match="smaller tile"):
        superres_to_file(model, tmp_path / "lr.tif", tmp_path / "sr.tif")
    assert [p.name for p in tmp_path.iterdir() if "sr" in p.name] == []


def test_a_network_that_cannot_be_told_is_tried(little):
    class Odd(SuperResLite):
        def logits(self, x, *args):
            x.nonzero()  # as many as the data say
            return super().logits(x, *args)

    little(2_000_000)
    assert superres.superres(Odd(3, 3, 2, width=4), labels((6, 6, 6))).shape == (8, 8, 8)


def test_a_training_that_does_not_fit_is_refused_before_any_work(little, monkeypatch):
    monkeypatch.setattr(training.SuperResTrainer, "check", lambda *_: pytest.fail("work was done"))
    little(30_000_000)
    with pytest.raises(MemoryError, match="windows of 96 fine voxels .* recompute=True"):
        training.fit_superres(rock(), "laptop", device="cpu", **{**SMALL, "window": 96})


def test_memory_that_is_not_known_is_no_error(little):
    little(None)
    memory.check(10**18, "this", "wait")


def test_a_container_has_its_own_limit(tmp_path, monkeypatch):
    whole = memory.available_bytes()
    files = {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "file 9\ninactive_file 50",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() == 350
    (tmp_path / "memory.max").write_text("max")
    assert memory.available_bytes() == pytest.approx(whole, rel=0.2) and whole > 10**8


# Less memory


def gradients(generator: SuperResLite, recompute: bool) -> list[torch.Tensor]:
    generator.recompute = recompute
    x, lr = pipeline.batch(2, 4)
    z = torch.rand(2, 1, 32, 32, 32)
    loss = pipeline.loss(generator(x, z=z), lr)
    return [loss.detach(), *torch.autograd.grad(loss, list(generator.parameters()))]


@pytest.mark.parametrize("norm", [False, True])
def test_recomputed_layers_have_the_same_gradients(norm):
    calls, both, buffers = [], [], []
    for recompute in (False, True):
        generator = pipeline.build(width=8, fine_noise=True, norm=norm)
        generator.first.register_forward_hook(lambda *_, r=recompute: calls.append(r))
        torch.manual_seed(1)
        both.append(gradients(generator, recompute))
        buffers.append(list(generator.buffers()))
    assert calls == [False, True, True]
    assert all(x.any() for x in both[0])
    least = 1e-4 * max(x.abs().max() for x in both[0][1:])  # before a norm, biases only round
    for plain, again in zip(*both, strict=True):  # slabs are added up in another order
        assert (plain - again).abs().max() < 1e-3 * plain.abs().max() + least
    assert all(torch.equal(a, b) for a, b in zip(*buffers, strict=True)), "statistics counted twice"


def test_a_training_with_recomputed_layers_is_the_same():
    logs = []
    for recompute in (False, True):
        changes = recipe(width=4, window=32, slices=2, recompute=recompute)
        trainer = training.SuperResTrainer(rock(12), changes, 0, CPU)
        assert trainer.generator.recompute is recompute
        logs.append([trainer.step()[k] for k in ("gap", "style")])
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


def test_recomputing_takes_less_memory():
    plain, less = (bench_memory.predict(way, 16) for way in ("plain", "recompute"))
    assert less < 0.6 * plain
    with pytest.raises(ValueError, match="recompute"):
        replace(training.PROFILES["full"], recompute=True)


def test_windows_take_the_memory_of_one():
    one = bench_memory.predict("plain", 8)
    assert bench_memory.predict("windows", 8, 64) == pytest.approx(one, rel=0.15)


# Pipeline


def test_stages_in_a_row_are_the_generator():
    generator, x = pipeline.build(width=4), pipeline.batch(1, 3)[0]
    wanted = generator(x)
    for processes in (2, 3):
        out = (x,)
        for stage in pipeline.stages(generator, processes):
            stage.numbers = torch.no_grad()
            out = stage(*out)
            out = out if isinstance(out, tuple) else (out,)
        assert torch.allclose(out[0], wanted, atol=1e-6)


def test_a_pipeline_has_the_gradients_of_one_process():
    command = [sys.executable, "-m", "benchmarks.pipeline", "--processes", "2", "--edge", "4"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("process ") == 2 and "predicted" in done.stdout


def test_the_table_has_a_row_for_every_way(monkeypatch):
    monkeypatch.setattr(bench_memory, "measure", lambda *_: (2e6, 3.0))
    rows = bench_memory.rows(edge=2, windows=2, processes=())
    assert [row["way"] for row in rows] == ["plain", "recompute", "windows"]
    assert all(row["measured_mb"] == 2 and row["seconds"] == 3 for row in rows)
    assert all(row["predicted_mb"] > 0 for row in rows)
    assert json.dumps(rows)
