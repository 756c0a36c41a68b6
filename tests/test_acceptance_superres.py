"""What the chapters on SuperRes promise of the long runs."""

import numpy as np
import pytest

from srlib import results
from srlib.training import LIMITS
from tests.stored import FOLDER, mean_size, values_of


@pytest.fixture(scope="module")
def anode() -> dict:
    values = values_of("12_case3_fuel_cell")
    assert len(values["quality"]) == 3, "three trainings"
    return values


@pytest.fixture(scope="module")
def cathode() -> dict:
    return values_of("10_case1_cathode")


@pytest.fixture(scope="module")
def separator() -> dict:
    return values_of("11_case2_separator")


@pytest.fixture(scope="module")
def xct_sem() -> dict:
    return values_of("13_case4_xct_sem")


def test_cs01_the_known_cathode_against_its_truth(cathode):
    assert cathode["cubes"] == 256
    rows = [row for name, row in cathode["errors"].items() if name.startswith("SuperRes")]
    for phase in ("pore", "active material", "binder"):
        assert mean_size(rows, f"{phase} %") <= 2, phase
    assert mean_size(rows, "pore/binder %") <= 6
    assert mean_size(rows, "active material/binder %") <= 6
    assert mean_size(rows, "pore/active material %") <= 12, "the smallest"
    assert mean_size(rows, "two-point") <= 0.003
    found = cathode["transport"]
    for phase, limit in (("pore", 0.05), ("active material", 0.1), ("binder", 0.1)):
        off = {k: {"off": row[phase] / found["3D truth"][phase] - 1} for k, row in found.items()}
        ours = mean_size([row for k, row in off.items() if k.startswith("SuperRes")], "off")
        assert ours <= limit, phase
        assert ours < abs(off["random binder"]["off"]), phase


def test_cs03_nearer_to_the_truth_than_the_authors_in_six_of_nine_means(cathode):
    assert len(cathode["nine"]) == 9 and len(cathode["nine_by_seed"]) == 3
    assert len(cathode["closer"]) >= 6


@pytest.mark.xfail(strict=True, reason="active material of the paper's pair: 21 % too much")
def test_cs03_transport_within_a_fifth_of_the_truth(cathode):
    for phase in ("pore", "active material", "binder"):
        row = cathode["nine"][f"transport, {phase}"]
        assert abs(row["error of ours"]) <= 0.2 * row["truth"], phase


def test_cs11_the_separator_against_its_truth(separator):
    answers = separator["answers"]
    assert answers["fibrils within 20 %"] == 3
    assert answers["pore transport nearer than the scan's, every axis"] == 3
    assert answers["solid transport nearer than the scan's, every axis"] == 3
    assert answers["lamellae normal to x, fibrils along x"] == 3
    for way, row in separator["transport"].items():
        ours, scan = (abs(x / row["truth"] - 1) for x in (row["SuperRes"][0], row["coarse"]))
        assert ours <= 0.15 and ours < 0.5 * scan, way


def test_ab14_two_facets_do_and_one_with_one_critic_does_not():
    """One training an arm, and the arms differ in their critics, too: not 'fewer facets fail'."""
    study = results.study("facets", ("6", "2", "1"), FOLDER)
    runs = {arm: found[0]["averaged"] for arm, found in study.items()}
    assert [len(found) for found in study.values()] == [1, 1, 1]
    assert [study[arm][0]["critics"] for arm in ("6", "2", "1")] == [3, 3, 1]
    assert all(abs(run["fibrils_error"]) <= 0.2 for run in runs.values()), "one facet, too"
    good = {arm: bool(np.all(run["nearer"])) for arm, run in runs.items()}
    assert good == {"6": True, "2": True, "1": False}
    worst = {arm: np.mean(run["transport_error"]) for arm, run in runs.items()}
    assert worst["1"] > 2 * max(worst["6"], worst["2"])


def test_cs23_cs26_cs27_two_microscopes(xct_sem):
    runs = xct_sem["runs"].values()
    assert all(row["axes percolating"] == 3 and row["kept"] >= 0.99 for row in runs)
    noise = xct_sem["worms"]  # balls of this share could not percolate
    assert noise["axes percolating"] == 2
    assert all(row["transport"] > 10 * noise["transport"] for row in runs)
    image = xct_sem["curtaining"]["fine image"][1]
    ours = [row[1] for name, row in xct_sem["curtaining"].items() if "seed" in name]
    assert len(ours) == len(runs) and all(abs(index) < 0.5 * image for index in ours)


def test_cs17_the_real_anode_against_its_fine_image(anode):
    errors = anode["mean_error_percent"]
    assert all(errors[f"{phase} %"] <= 3 for phase in ("pore", "nickel", "ceramic"))
    assert errors["pore/nickel %"] <= 10 and errors["nickel/ceramic %"] <= 10
    assert errors["pore/ceramic %"] <= 15, "the smallest"
    for run in anode["quality"].values():
        assert all(run[key] <= limit for key, limit in LIMITS.items())


def test_interpolation_is_beaten(anode):
    for column in ("areas", "s2"):
        ours = np.mean([run[column] for run in anode["quality"].values()])
        assert ours < min(rival[column] for rival in anode["baseline"].values()), column
    assert ours < 0.5 * anode["baseline"]["linear"]["s2"]


def test_cs18_cs19_the_twin_against_its_truth(anode):
    assert anode["cubes"] == 256
    truth = [v for name, v in anode["truth_percent"].items() if name.startswith("SuperRes")]
    for pair, limit in (("pore/nickel %", 10), ("nickel/ceramic %", 10), ("pore/ceramic %", 15)):
        assert np.mean([abs(row[pair]) for row in truth]) <= limit
    for phase in ("pore %", "nickel %", "ceramic %"):
        assert np.mean([abs(row[phase]) for row in truth]) <= 3
    assert all(row["two-point"] <= 0.004 for row in truth)
    against = [v for name, v in anode["against_truth"].items() if name.startswith("seed")]
    assert np.mean([abs(row["tpb_gap"]) for row in against]) <= 0.06, "the paper: 5.4 %"


def worse(phase: int, numbers: str):
    reason = f"{numbers}: interpolation is nearer to this synthetic truth, which hardly connects"
    return pytest.param(phase, marks=pytest.mark.xfail(strict=True, reason=reason))


@pytest.mark.parametrize(
    "phase",
    [
        0,
        worse(1, "nickel, 0.0194 too much of 0.042, linear interpolation 0.0133"),
        worse(2, "ceramic, 0.0133 too much of 0.045, linear interpolation 0.0027"),
    ],
)
def test_cs18_transport_is_nearer_to_the_truth_than_interpolation(anode, phase):
    off = {k: abs(row["transport"][phase]) for k, row in anode["against_truth"].items()}
    ours = np.mean([gap for name, gap in off.items() if name.startswith("seed")])
    assert ours < off["linear"]


def test_what_the_recipe_page_says_of_its_table():
    """Page `book/recipe.md`: where it says worse, every seed is worse than every seed of ours."""
    runs = {p.stem.removeprefix("recipe-"): results.read(p) for p in FOLDER.glob("recipe-*.json")}

    def seen(arm: str, column: str, weights: str = "averaged") -> list[float]:
        return [runs[f"{arm}-{seed}"]["values"][weights][column] for seed in (0, 1)]

    for arm, column in (
        ("no-evenness", "imprint"),
        ("no-evenness", "anisotropy"),
        ("noise-4", "areas"),
        ("noise-4", "imprint"),
        ("noise-0", "score"),
        ("no-finish", "areas"),
        ("no-skip", "areas"),
        ("halo-0", "areas"),
    ):
        assert min(seen(arm, column)) > max(seen("recipe", column)), (arm, column)
    for column in ("areas", "lost", "score"):
        assert min(seen("recipe", column, "last")) > max(seen("recipe", column)), column
    for arm in ("beta1-0.5", "critic-steps-1", "voxel-weight-10"):
        assert min(seen(arm, "score")) <= max(seen("recipe", "score")), arm
