"""Studies: their arms fit the library, and a call makes only what is missing."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import (
    ablation_judge,
    ablation_study,
    augmentation_study,
    cascade_study,
    depth_study,
    facet_study,
    recipe_study,
    rock_study,
    style_study,
)
from benchmarks.study import sweep
from srlib import data, datasets, models, results, training
from srlib.inference import superres
from srlib.synthetic import filled_rubber, sandstone
from srlib.training import depth
from srlib.training.recipe import MIXED_UP_AT_EIGHT


def test_sweep_makes_what_is_missing(tmp_path, monkeypatch):
    made = []

    def run(arm, seed, work):
        made.append((arm, seed, work.name))
        return {"value": seed}

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["study", *arguments, "--out-dir", str(tmp_path)])
        sweep("about", "size", ["small", "large"], run, "twin")

    call("large", "--seeds", "3")
    assert made == [("large", 3, "large")]
    found = results.read(tmp_path / "size-large-3.json")
    assert found["values"] == {"value": 3} and found["source"] == "twin" and found["seed"] == 3
    call("--seeds", "3")
    assert made[1:] == [("small", 3, "small")]
    call()
    assert sorted(made[2:]) == [(a, s, a) for a in ("large", "small") for s in (0, 1)]
    with pytest.raises(SystemExit):
        call("middle")


@pytest.mark.parametrize("study", [augmentation_study, recipe_study])
def test_arms_are_recipes(study):
    base = replace(training.PROFILES["laptop"], **getattr(study, "BEFORE", {}))
    for arm, changes in study.ARMS.items():
        changes = changes[1] if isinstance(changes, tuple) else changes
        assert (replace(base, **changes) == base) == (not changes), arm


@pytest.fixture(scope="module")
def small_rock():
    return sandstone.case("twin", 0, edge=24, images=2, image_edge=16)


@pytest.fixture
def squares(small_rock, monkeypatch):
    """What stands for the images that a network has made."""
    found = data.sample_squares(small_rock.hr, 64, 200, torch.Generator().manual_seed(0))
    monkeypatch.setattr(rock_study, "made", lambda: found)
    return found


@pytest.mark.filterwarnings("ignore:fine image .* has no")
def test_rock_arms_fit_the_case(monkeypatch, small_rock, squares):
    case = small_rock
    base = replace(training.PROFILES["laptop"], **training.laptop_changes(case))
    for arm, how in rock_study.ARMS.items():
        changed = (
            replace(base, **how.recipe) != base or how.case(case).key() != case.cleaned().key()
        )
        assert changed == (arm != "recipe"), arm
    monkeypatch.setattr(rock_study, "judged", lambda place: case)
    recipe = training.Recipe(width=4)
    model = training.SuperResTrainer(case, recipe, 0, torch.device("cpu")).model
    found = rock_study.judge(model, 0)
    assert set(found["errors"]) == {"0", "1"} and 0 <= found["kept"] <= 1
    assert len(found["slice"]) == 22 * 8


@pytest.mark.filterwarnings("ignore:fine image .* has no")
def test_every_rock_arm_has_the_recipe_and_its_own_change(
    monkeypatch, tmp_path, small_rock, squares
):
    case, seen = small_rock, {}

    class Stop(Exception):
        pass

    def fit(case, profile, seed, out, **changes):
        seen.update(changes)
        raise Stop

    monkeypatch.setattr(rock_study, "learnt_from", lambda: case)
    monkeypatch.setattr(training, "fit_superres", fit)
    for arm, how in rock_study.ARMS.items():
        seen.clear()
        with pytest.raises(Stop):
            rock_study.run(arm, 0, tmp_path)
        assert seen == MIXED_UP_AT_EIGHT | how.recipe, arm


@pytest.mark.filterwarnings("ignore:fine image .* has no")
def test_biased_images_are_some_of_those_made_and_have_more_pore(small_rock, squares):
    plain, dark = (
        of(small_rock).target_fractions() for of in (rock_study.synthetic, rock_study.biased)
    )
    assert plain[0] + 0.05 <= dark[0] < plain[0] + 0.06
    chosen = {image.tobytes() for image in rock_study.biased(small_rock).hr}
    assert chosen < {square.tobytes() for square in squares}
    assert len(rock_study.synthetic(small_rock).images(1)) == len(squares), "not turned again"


@pytest.mark.filterwarnings("ignore:fine image .* has no")
def test_style_arms_learn_from_what_they_say(monkeypatch, small_rock, tmp_path):
    big = replace(small_rock, hr=[np.tile(image, (4, 4)) for image in small_rock.hr])
    monkeypatch.setattr(style_study, "places", lambda: (big, big))
    monkeypatch.setattr(style_study, "JUDGED", 20)
    monkeypatch.setattr(style_study, "ALIKE", 2)
    assert {image.shape for image in style_study.images("few-no-ada")} == {(32, 32)}
    tiny = dict(edge=32, iterations=1, batch=4, latent=4, width=2, max_channels=4)
    monkeypatch.setitem(style_study.ARMS, "few", tiny)
    found = style_study.run("few", 0, tmp_path)
    assert found["learnt from"]["likeness"] == 1 > found["errors"]["likeness"]
    assert abs(found["others"]["pore, points"]) < 10
    card = models.load(tmp_path / "few-0.safetensors").meta
    assert card["ada"] and card["case"] == "rock" and card["voxel_nm"] == 437.5


def test_a_cascade_is_judged_where_its_volumes_lie(monkeypatch):
    def enlarge(model, lr, seed=0, progress=None):
        return np.kron(lr[(slice(1, -1),) * 3], np.ones((model,) * 3, np.uint8))

    case = partial(sandstone.case, "twin", image_edge=24)
    monkeypatch.setattr(cascade_study.superres, "superres", enlarge)
    monkeypatch.setattr(cascade_study.sandstone, "case", lambda _, place, **how: case(place, **how))
    monkeypatch.setattr(cascade_study, "JUDGE", 20)
    found = cascade_study.judge(2, 8, 0, 0)
    errors = found["errors"]
    assert errors["two networks"] == errors["overview"], "of the same voxels"
    assert errors["second network alone"]["mixed up"] < errors["overview"]["mixed up"] < 0.06
    assert 0.8 < found["scan found"] < 1


def test_the_first_network_of_a_cascade_learns_from_slices_of_another_scan():
    here, there = (np.random.default_rng(k).integers(0, 4, (12,) * 3) for k in (0, 1))
    case = cascade_study.case(here.astype(np.uint8), there.astype(np.uint8))
    assert case.lr.shape == (6, 6, 6) and (case.hr[0] == there[2]).all()
    block = np.repeat(np.repeat(np.repeat(here[:3, :3, :3], 2, 0), 2, 1), 2, 2)
    assert (cascade_study.overview(block.astype(np.uint8)) == here[:3, :3, :3]).all()


def test_facet_arms_are_cases():
    case = datasets.load("case2", "twin", edge=64)
    pixels = {arm: how.pixels(case) for arm, how in facet_study.ARMS.items()}
    for arm, how in facet_study.ARMS.items():
        assert len(how.case(case).hr) == len(how.images), arm
    assert pixels["6"] > pixels["4"] > pixels["3"] > pixels["2"] > pixels["1"]
    assert pixels["6-sixteenth"] == pytest.approx(pixels["6"] / 16, rel=0.05)


def test_ablation_arms_change_one_thing():
    """Either the recipe, the inputs, or both where a row of the table asks for both."""
    case = datasets.load("electrode", "twin", edge=256)
    base = replace(training.PROFILES["laptop"], **training.laptop_changes(case) | training.STUDY)
    keys, ARMS = {}, ablation_study.ARMS
    cases = {"electrode": case, "case3": datasets.load("case3", "twin", edge=64)}
    for arm, how in ARMS.items():
        made = how.case(cases[how.name])
        assert made.scale_factor == how.scale, arm
        assert int(ablation_study.SEEN / how.scale) * how.scale == ablation_study.SEEN, arm
        changed = replace(base, **how.recipe or {})
        keys[arm] = (changed, str(made.key()), made.mode, how.name, how.source, how.recipe is None)
        if arm != "recipe":
            assert keys[arm] != keys["recipe"], arm
    same = [(a, b) for a in keys for b in keys if a < b and keys[a] == keys[b]]
    assert not same
    sizes = {arm: sum(i.size for i in how.case(case).hr) for arm, how in ARMS.items()}
    assert sizes["image-1"] == 16 * sizes["image-1-sixteenth"]
    assert sizes["image-1-tiles"] == sizes["image-1"] == sizes["recipe"] / 9
    low, middle, high = (
        ARMS[f"binder-{rank}"].case(case).target_fractions() for rank in ("low", "middle", "high")
    )
    assert low[2] < middle[2] < high[2]
    assert low[1] == pytest.approx(high[1]), "as much active material as in the scan"


def test_the_judge_tells_a_good_volume_from_a_bad_one():
    case = datasets.load("electrode", "twin", edge=256)

    class Known:
        scale_factor = 4

    def judged(volume):
        return ablation_judge.judge(Known(), case, volume, 0)

    truth = case.truth[: ablation_judge.SLAB]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(superres, "superres", lambda *args, **how: _inner(truth, how.get("crop", 0)))
        patch.setattr(ablation_judge, "repeats", lambda *args: [])
        good, bad = judged(truth), judged(np.roll(truth, 12, 2))
    assert good["accuracy"] == 1 > bad["accuracy"] + 0.2
    assert good["mean_error"] == good["s2"] == good["differs"] == 0 < bad["differs"]
    assert good["lost"] < 0.01 < bad["lost"]
    assert good["transport"] == good["transport_truth"]
    assert max(good["wrong_by_depth"]) == 0 < min(bad["wrong_by_depth"])


def _inner(volume, crop):
    cut = (slice(4 * crop, -4 * crop or None),) * 3
    return volume[cut]


def test_patches_are_found_where_they_come_from():
    image = datasets.load("case3", "twin", edge=64).hr[0]
    patches = data.sample_squares(
        [image], ablation_judge.PATCH, 4, torch.Generator().manual_seed(0)
    )
    assert ablation_judge.nearest(patches, [image], 3) == pytest.approx(1)
    other = datasets.load("case3", "twin", seed=9, edge=64).hr[0]
    assert ablation_judge.nearest(patches, [other], 3) < 0.95


@pytest.mark.parametrize(
    "arm", ["harder-8-interpolation", "harder-8-SRGAN", "harder-8-CNN-long", "harder-8-InDI"]
)
def test_depth_arms_are_judged_on_planes_they_have_not_seen(arm, tmp_path, monkeypatch):
    assert set(depth_study.ARMS) >= {arm}
    assert len(depth_study.ARMS) == len(set(depth_study.ARMS))
    block = filled_rubber.stack("harder", 0, (96, 64, 64))
    seen = []

    def learn(few, *rest, **how):
        seen.append(few)
        return fit(few, *rest, **how)

    fit = training.fit_depth
    monkeypatch.setattr(training, "fit_depth", learn)
    monkeypatch.setattr(depth_study, "stack", lambda name, seed: block)
    monkeypatch.setattr(depth_study, "LEARN", slice(0, 32))
    monkeypatch.setattr(depth_study, "JUDGE", slice(40, 96))
    monkeypatch.setattr(depth_study, "INDI_STEPS", 1)
    monkeypatch.setitem(depth.STEPS, 8, 2)
    short = replace(training.RestorationRecipe(), steps=2, crop=32, batch=1, width=8)
    monkeypatch.setattr(training, "RestorationRecipe", lambda **changes: short)
    values = depth_study.run(arm, 0, tmp_path)
    if seen:
        assert np.array_equal(seen[0], block[:32][4::8])
        assert values["tiles"] == 16 * (3 if "long" in arm else 2)
    rows = {name: row for name, row in values.items() if isinstance(row, dict)}
    assert set(rows) >= ({"input", "cubic"} if arm.endswith("tion") else {"both", "xz", "yz"})
    for row in rows.values():
        assert len(row["rms"]) == 8 and min(row["rms"]) > 0


def test_training_of_a_page_is_the_study_s_or_less():
    assert training.in_short(1200) == training.STUDY
    assert training.in_short(3000) == training.STUDY | {"iterations": 3000}
    short = training.in_short(80)
    assert short["iterations"] == short["check_every"] == 80, "one check, at the end"
    assert short["window"] < training.STUDY["window"] and short["width"] == training.STUDY["width"]
