"""What the chapters on depth promise: recomputed from shipped weights, and of the long runs."""

import numpy as np
import pytest
import torch

from srlib import metrics, models
from srlib.inference import depth
from srlib.physics import sectioning
from srlib.synthetic import filled_rubber
from tests.stored import values_of

SEEDS, FACTORS = (0, 1, 2), (2, 4, 8)


def depth_of(stack: str, n: int, how: str) -> list[dict]:
    """What was measured of a method, one for each seed of a volume and its training."""
    return [values_of(f"depth-{stack}-{n}-{how}-{seed}", "twin") for seed in SEEDS]


def decibels(run: dict) -> float:
    return metrics.decibels(float(np.sqrt(np.mean(np.square(run["rms"])))))


def gains(seed: int, shape: tuple[int, int, int], n: int, network) -> dict[str, float]:
    """What a network gains over the best interpolation on a specimen, and their surfaces."""
    truth, at = filled_rubber.stack("harder", seed, shape, progress=False), filled_rubber.THRESHOLD
    few = sectioning.decimate(truth, n)
    volumes = {how: sectioning.fill(few, n, how) for how in ("linear", "cubic", "spline")}
    volumes["ours"] = depth.restore(network, few, progress=False)
    grey = {k: np.rint(np.clip(v, 0, 255)).astype(np.uint8) for k, v in volumes.items()}
    dB = {k: metrics.decibels(metrics.rms_error(v, truth)) for k, v in grey.items()}
    flips = {k: metrics.threshold_disagreement(v, truth, at) for k, v in grey.items()}
    right = metrics.isosurface(truth, at)
    surface = {k: abs(metrics.isosurface(v, at) / right - 1) for k, v in grey.items()}
    plain = ("linear", "cubic", "spline")
    return {
        "dB": dB["ours"] - max(dB[k] for k in plain),
        "flipped": flips["ours"] / min(flips[k] for k in plain),
        "surface": surface["ours"] / min(surface[k] for k in plain),
    }


LEAST = {2: 0.2, 4: 1.0, 8: 2.0}  # dB over the best interpolation on the harder rubber


def check(found: dict[str, float], n: int) -> None:
    assert found["dB"] > LEAST[n]
    assert found["flipped"] < 1


def untrained(n: int):
    """The shipped network with the weights that a training begins with."""
    torch.manual_seed(0)
    shipped = models.load(f"rubber{n}-twin-0")
    return type(shipped)(**shipped.config).eval()


@pytest.mark.parametrize("n", FACTORS)
def test_fs14_recomputed_on_a_small_specimen(n):
    """An untrained network is linear interpolation, and gains nothing."""
    check(gains(20, (48, 56, 56), n, models.load(f"rubber{n}-twin-0")), n)
    with pytest.raises(AssertionError):
        check(gains(20, (48, 56, 56), n, untrained(n)), n)


@pytest.mark.slow
@pytest.mark.parametrize("n", FACTORS)
def test_fs14_fs22_recomputed(n):
    """Two specimens that no training has seen."""
    for seed in (21, 22):
        found = gains(seed, (72, 112, 112), n, models.load(f"rubber{n}-twin-0"))
        check(found, n)
        assert n < 8 or found["surface"] < 1, "the surface, too, at n = 8"


@pytest.mark.parametrize(
    ("n", "paper"),
    [
        pytest.param(2, 39.0, marks=pytest.mark.xfail(strict=True, reason="1.9 dB off")),
        (4, 32.4),
        (8, 27.1),
    ],
)
def test_fs12_the_input_row_of_the_paper(n, paper):
    """Of the easy twin. That of the milled one is fitted to it, three parameters to three numbers,
    and the harder one, of which most is claimed, is 3.6 dB off at n = 2."""
    easy = [decibels(runs["input"]) for runs in depth_of("easy", n, "interpolation")]
    assert np.abs(np.subtract(easy, paper)).max() < 1.5


@pytest.mark.parametrize(
    ("stack", "n", "least"),
    [("easy", 2, 1), ("easy", 4, 2), ("easy", 8, 4), ("harder", 2, 0), ("harder", 4, 0)]
    + [("harder", 8, 1)],
)
def test_fs14_the_network_against_the_best_interpolation(stack, n, least):
    """At n = 8 as in the paper. At 2 and 4 the paper's network loses: see the next test."""
    pairs = zip(depth_of(stack, n, "SRGAN"), depth_of(stack, n, "interpolation"), strict=True)
    for ours, plain in pairs:
        assert decibels(ours["both"]) - max(map(decibels, plain.values())) > least
        assert ours["training_seconds"] * ours["threads"] / 2 < 600, "ten minutes on two cores"


@pytest.mark.xfail(strict=True, reason="the paper loses 2.3 and 0.8 dB, ours gains at 2 and at 4")
@pytest.mark.parametrize("stack", ["easy", "harder"])
@pytest.mark.parametrize("n", [2, 4])
def test_fs14_interpolation_is_better_as_in_the_paper(stack, n):
    pairs = zip(depth_of(stack, n, "SRGAN"), depth_of(stack, n, "interpolation"), strict=True)
    for ours, plain in pairs:
        assert max(map(decibels, plain.values())) > decibels(ours["both"])


def test_fs09_sections_are_aligned_to_half_a_pixel():
    found = values_of("50_fibsem_pipeline", "twin")["alignment"]
    assert found["left, 1 section in 1"] < 0.5 < found["slip"]


def test_fs22_the_surface_at_n_8_on_the_harder_twin():
    errors = [run["both"]["surface %"] for run in depth_of("harder", 8, "SRGAN")]
    assert np.abs(errors).max() < 8
    plain = [run["cubic"]["surface %"] for run in depth_of("harder", 8, "interpolation")]
    assert np.abs(errors).mean() < np.abs(plain).mean()
