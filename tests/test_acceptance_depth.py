"""What the chapters on depth promise of the long runs."""

import numpy as np
import pytest

from srlib import metrics
from tests.stored import values_of

SEEDS = (0, 1, 2)


def depth_of(stack: str, n: int, how: str) -> list[dict]:
    """What was measured of a method, one for each seed of a volume and its training."""
    return [values_of(f"depth-{stack}-{n}-{how}-{seed}", "twin") for seed in SEEDS]


def decibels(run: dict) -> float:
    return metrics.decibels(float(np.sqrt(np.mean(np.square(run["rms"])))))


@pytest.mark.parametrize(("n", "paper"), [(2, 39.0), (4, 32.4), (8, 27.1)])
def test_fs12_the_input_row_of_the_paper(n, paper):
    easy, milled = (
        [decibels(runs["input"]) for runs in depth_of(stack, n, "interpolation")]
        for stack in ("easy", "milled")
    )
    assert np.abs(np.subtract(easy, paper)).max() < 2
    assert round(float(np.mean(milled)), 1) == paper, "exact, as printed"
    assert np.std(milled, ddof=1) < 0.1, "of one specimen to the next"


@pytest.mark.parametrize(
    ("stack", "n", "least"),
    [("easy", 2, 1), ("easy", 4, 2), ("easy", 8, 4), ("harder", 2, 0), ("harder", 4, 0)]
    + [("harder", 8, 1)],
)
def test_fs14_the_network_against_the_best_interpolation(stack, n, least):
    pairs = zip(depth_of(stack, n, "SRGAN"), depth_of(stack, n, "interpolation"), strict=True)
    for ours, plain in pairs:
        assert decibels(ours["both"]) - max(map(decibels, plain.values())) > least
        assert ours["training_seconds"] * ours["threads"] / 2 < 600, "ten minutes on two cores"


def test_fs09_sections_are_aligned_to_half_a_pixel():
    found = values_of("50_fibsem_pipeline", "twin")["alignment"]
    assert found["left, 1 section in 1"] < 0.5 < found["slip"]


def test_fs22_the_surface_at_n_8_on_the_harder_twin():
    errors = [run["both"]["surface %"] for run in depth_of("harder", 8, "SRGAN")]
    assert np.abs(errors).max() < 8
    plain = [run["cubic"]["surface %"] for run in depth_of("harder", 8, "interpolation")]
    assert np.abs(errors).mean() < np.abs(plain).mean()
