"""What the chapters on the rock promise: recomputed from shipped weights, and of the long runs."""

import pytest
import torch

from srlib import metrics, models
from srlib.data import find_file
from srlib.inference import interpolation, superres
from srlib.models import SuperResLite
from srlib.synthetic import sandstone
from tests.stored import mean_size, values_of

SURFACES = [f"surface of {phase} %" for phase in sandstone.PHASES]


def judged(model, source: str, place: int, edge: int) -> dict[str, dict]:
    """Errors and the share of right voxels of the scan, its vote and a network at one place."""
    case, n = sandstone.case(source, place, edge=edge, images=1), len(sandstone.PHASES)
    truth = case.truth[(slice(sandstone.SCALE, -sandstone.SCALE),) * 3]
    inner, given = (slice(1, -1),) * 3, case.cleaned().lr
    found = {
        "scan": interpolation.interpolate(case.lr[inner], n, sandstone.SCALE, "nearest"),
        "voted": interpolation.interpolate(given[inner], n, sandstone.SCALE, "nearest"),
        "output": superres.superres(model, given, 0, progress=False),
    }
    return {
        name: metrics.class_errors(volume, truth, sandstone.PHASES, pair=sandstone.PAIR)
        | {"right": float((volume == truth).mean())}
        for name, volume in found.items()
    }


def check(rows: dict[str, dict]) -> None:
    """What is promised of a network: always beside what the scan and the vote can do.

    Not its two-point functions: in a small cube they are often no better than the scan's.
    """
    scan, voted, output = (rows[k] for k in ("scan", "voted", "output"))
    assert output["mixed up"] < 2 / 3 * scan["mixed up"]
    assert output["right"] > scan["right"] + 0.02, "of four classes"
    off = {k: sum(abs(row[s]) for s in SURFACES) for k, row in rows.items()}
    assert off["output"] < 0.7 * min(off["scan"], off["voted"]), "surfaces come from the images"
    assert 0.3 < output["small pores"] < 3 and max(scan["small pores"], voted["small pores"]) < 0.1


def untrained(seed: int = 0):
    """The shipped network with the weights that a training begins with."""
    torch.manual_seed(seed)
    model = SuperResLite(**models.load("rock-twin-0").config)
    return model.eval()


def test_rk03_rk11_rk12_recomputed_on_a_small_place():
    check(judged(models.load("rock-twin-0"), "twin", 1, 12))
    with pytest.raises(AssertionError):
        check(judged(untrained(), "twin", 1, 12))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("source", ["twin", "real"])
def test_rk03_rk11_rk12_recomputed(source, seed):
    """Each training, at a place that it has not seen, on either pore space."""
    if source == "real" and find_file("berea.zip") is None:
        pytest.skip("berea.zip is not here")
    check(judged(models.load(f"rock-twin-{seed}"), source, 2, 18))


def test_rk07_rk08_made_images_have_right_fractions_and_rough_borders():
    """The images are like the rock in what is counted, and no better than the 14 for a volume."""
    values = values_of("40_rock_images", "twin")
    made = values["scores"]["made"]
    for phase in ("pore", "quartz", "feldspar", "clay"):
        assert abs(made[f"{phase}, points"]) < 2
    assert made["variety"] == pytest.approx(1, abs=0.2)
    assert values["likeness"]["made"] < values["likeness"]["unseen images"], "no copies"
    (taught,), plain = values["volumes"]["synthetic"], values["volumes"]["recipe"]
    assert taught["0"]["two-point"] > mean_size([run["0"] for run in plain], "two-point")


@pytest.mark.xfail(strict=True, reason="two-point 0.021 by the networks, 0.015 by the vote alone")
def test_rk11_two_point_functions_within_a_hundredth_and_better_than_the_vote():
    values = values_of("41_rock_x8", "twin")
    found = mean_size([run["0"] for run in values["runs"].values()], "two-point")
    assert found < min(0.01, values["voted"]["0"]["two-point"])


@pytest.mark.xfail(strict=True, reason="feldspar 0.779 (vote 0.843), clay 0.317 (vote 0.548)")
@pytest.mark.parametrize("phase", [2, 3], ids=["feldspar", "clay"])
def test_rk03_every_mineral_is_found_as_often_as_by_the_vote(phase):
    confused = values_of("41_rock_x8", "twin")["confusion"]
    assert confused["super-resolved"][phase][phase] > confused["voted"][phase][phase]


@pytest.mark.xfail(strict=True, reason="11 % of what surrounds small pores is quartz, truth 69 %")
def test_rk12_small_pores_lie_in_the_right_mineral():
    around = values_of("42_rock_checks", "twin")["around small pores"]
    assert around["good"]["quartz"] == pytest.approx(around["truth"]["quartz"], abs=0.2)


def test_rk03_rk11_rk12_four_minerals_eight_times_finer():
    """The stored trainings, judged on the pore space of the real Berea."""
    values = values_of("41_rock_x8", "twin")
    assert values["pore space"] == "berea"
    runs, scan = [run["0"] for run in values["runs"].values()], values["scan"]["0"]
    for phase in ("pore", "quartz", "feldspar", "clay"):
        assert mean_size(runs, f"{phase}, points") < 2
        assert mean_size(runs, f"surface of {phase} %") < 15
    for run in runs:
        assert run["mixed up"] < 2 / 3 * scan["mixed up"]
        assert run["mixed up"] < values["voted"]["0"]["mixed up"], "more than the vote alone"
        assert run["small pores"] == pytest.approx(1, abs=0.3), "by number"
    assert mean_size(runs, "two-point") < 0.5 * scan["two-point"]
    assert values["memory"]["inference, 32³ to 256³ in tiles"]["GB"] < 2


@pytest.mark.xfail(strict=True, reason="permeability 14.9 % off, the scan 13.4 %")
def test_rk24_the_flow_is_nearer_to_the_truth_than_that_of_the_scan():
    k = values_of("43_rock_flow", "twin")["errors"]["k (mD)"]
    assert k["error of the output %"] < k["error of the scan %"]


def test_rk24_pores_are_too_narrow_for_specks_that_float_in_them():
    truth, found = values_of("43_rock_flow", "twin")["floating"].values()
    assert found["specks in a million voxels"] > 2 * truth["specks in a million voxels"]
    narrow, bare = (
        found[k] / truth["pore width (µm)"] - 1 for k in ("pore width (µm)", "without specks")
    )
    assert narrow < -0.1 and abs(bare) < 0.05
