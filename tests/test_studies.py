"""Studies: their arms fit the library, and a call makes only what is missing."""

import sys
from dataclasses import replace

import pytest

from benchmarks import augmentation_study, facet_study, recipe_study
from benchmarks.study import sweep
from srlib import data, results, train


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
    base = replace(train.PROFILES["laptop"], **getattr(study, "BEFORE", {}))
    for arm, changes in study.ARMS.items():
        changes = changes[1] if isinstance(changes, tuple) else changes
        assert (replace(base, **changes) == base) == (not changes), arm


def test_facet_arms_are_cases():
    case = data.load("case2", "twin", edge=64)
    pixels = {arm: how.pixels(case) for arm, how in facet_study.ARMS.items()}
    for arm, how in facet_study.ARMS.items():
        assert len(how.case(case).hr) == len(how.images), arm
    assert pixels["6"] > pixels["4"] > pixels["3"] > pixels["2"] > pixels["1"]
    assert pixels["6-sixteenth"] == pytest.approx(pixels["6"] / 16, rel=0.05)
