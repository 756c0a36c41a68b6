"""Training on pairs: it learns, it goes on after a kill, and it says what does not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from srlib import datasets, training
from srlib.inference import interpolation, superres
from srlib.physics import downsampling


def line(iterations: int = 40, seed: int = 0, **how) -> nn.Module:
    """A line through y = 2 x - 1."""
    torch.manual_seed(1)

    def loss(model, rng):
        x = torch.rand((64, 1), generator=rng)
        return (model(x) - (2 * x - 1)).square().mean()

    return training.fit_supervised(nn.Linear(1, 1), loss, iterations, seed, "cpu", rate=0.05, **how)


def test_it_learns_what_the_pairs_say():
    model = line(400, progress=False)
    assert model.weight.item() == pytest.approx(2, abs=0.02)
    assert model.bias.item() == pytest.approx(-1, abs=0.02)
    assert len(model.meta["losses"]) == 400 and not model.training
    assert model.meta["losses"][-1] < 1e-4 < model.meta["losses"][0]


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    class Killed(Exception):
        pass

    def loss(model, rng):
        x = torch.rand((64, 1), generator=rng)
        if len(calls) == stop:
            raise Killed
        calls.append(x)
        return (model(x) - x).square().mean()

    def fit(path):
        torch.manual_seed(1)
        return training.fit_supervised(
            nn.Linear(1, 1), loss, 30, 0, "cpu", save_every=10, out=path, progress=False
        )

    calls, stop = [], 25
    with pytest.raises(Killed):
        fit(tmp_path / "a")
    stop = None
    model = fit(tmp_path / "a")
    assert len(calls) == 25 + 10  # the five after the last checkpoint again
    calls.clear()
    whole = fit(tmp_path / "b")
    assert torch.equal(model.weight, whole.weight)
    assert model.meta["losses"] == whole.meta["losses"]


def test_what_does_not_fit_is_refused(tmp_path):
    line(20, out=tmp_path / "a", progress=False)
    with pytest.raises(ValueError, match="another recipe, seed or data"):
        line(21, out=tmp_path / "a", progress=False)
    with pytest.raises(ValueError, match="smaller rate"):
        training.fit_supervised(nn.Linear(1, 1), lambda m, _: m.weight.sum() / 0, 3, device="cpu")
    with pytest.raises(ValueError, match="learns from pairs"):
        training.fit_cnn(replace(datasets.load("case3", "twin", edge=64), truth=None))


@pytest.mark.parametrize("scale", [1.6, 4])
def test_the_cnn_is_nearer_to_the_truth_than_interpolation(scale):
    """On a part that it has not seen; at the wrong place it would be worse."""
    case = datasets.load("electrode", "twin", edge=160)
    lr = downsampling.simulate_lr(case.truth, scale, phase=1)["lr"]
    case, half = replace(case, lr=lr, scale_factor=scale), int(80 / scale)
    pairs = replace(case, lr=lr[:half], truth=case.truth[:80])
    model = training.fit_cnn(pairs, 30, device="cpu", progress=False)
    seen = lr[half:, : int(64 / scale), : int(64 / scale)]
    truth = case.truth[80:, :64, :64]
    ours = superres.superres(model, seen, crop=0, progress=False)
    plain = interpolation.interpolate(seen, 2, scale, "linear")
    assert ours.shape == plain.shape == truth.shape
    same = {k: ((v == 1) == (truth == 1)).mean() for k, v in (("cnn", ours), ("plain", plain))}
    assert same["cnn"] > same["plain"] - 0.01
    assert np.mean(ours == truth) > np.mean(plain == truth)
