"""Signs of failure: each fires on what is wrong, and is silent on what is right."""

import numpy as np
import pytest

from srlib import models
from srlib.inference import superres
from srlib.metrics import diagnostics
from srlib.synthetic import sandstone


@pytest.fixture(scope="module")
def case():
    return sandstone.case("twin", 0, edge=24, images=1, image_edge=24)


def with_noise(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 4, truth.shape).astype(np.uint8)
    return np.where(rng.random(truth.shape) < share, noise, truth)


def test_samples_that_are_alike_have_collapsed_and_others_not(case):
    wanted = np.bincount(case.truth.ravel(), minlength=4) / case.truth.size
    others = [with_noise(case.truth, 0.05, seed) for seed in range(3)]
    assert diagnostics.collapsed(others, wanted) is None
    assert "all alike" in diagnostics.collapsed([case.truth, case.truth.copy()], wanted)
    quartz = [np.where(np.isin(x, (2, 3)), 1, x) for x in others]
    assert "phase 2 has a share of 0.000" in diagnostics.collapsed(quartz, wanted)
    with pytest.raises(ValueError, match="two or more volumes"):
        diagnostics.diversity([case.truth])


def test_diversity_is_the_share_of_voxels_that_differ():
    a = np.zeros((4, 4, 4), np.uint8)
    b, c = a.copy(), a.copy()
    b[0, 0, 0] = c[0, 0, 0] = 1
    c[1, 1, 1] = 1
    assert diagnostics.diversity([a, b, c]) == pytest.approx((1 + 2 + 1) / 3 / 64)


@pytest.mark.parametrize(
    ("voxels", "least", "most"), [(0, 0, 0.01), (4, 0.15, 0.25), (8, 0.35, 0.5)]
)
def test_shift_of_a_ball_is_about_half_of_what_it_was_moved_by(voxels, least, most):
    z, y, x = np.mgrid[:96, :96, :96] + 0.5
    solid = (z - 48) ** 2 + (y - 48) ** 2 + (x - 48 - voxels) ** 2 >= 20**2
    still = (z - 48) ** 2 + (y - 48) ** 2 + (x - 48) ** 2 < 20**2
    lr = (still.reshape(12, 8, 12, 8, 12, 8).mean((1, 3, 5)) < 0.5).astype(np.uint8)
    sr = solid.astype(np.uint8)
    assert least <= diagnostics.shift(sr, lr, 8) <= most
    sentence = diagnostics.drifted(sr, lr, 8)
    assert ("pores have moved by" in sentence) if voxels == 8 else sentence is None


def test_truth_has_not_drifted_and_what_is_moved_mirrored_or_gone_has(case):
    lr, phase_map = case.trusted(case.lr)
    how = dict(mode=case.mode, phase_map=phase_map)
    whole = np.where(case.truth == 2, 1, case.truth)
    as_seen = np.kron(lr, np.ones((8, 8, 8), np.uint8))
    assert diagnostics.drifted(as_seen, lr, 8, **how) is None
    assert "do not come back" in diagnostics.drifted(whole[::-1], lr, 8, **how)
    assert "do not come back" in diagnostics.drifted(np.ones_like(whole), lr, 8, **how)
    assert diagnostics.shift(np.ones_like(whole), lr, 8) > 2
    with pytest.raises(ValueError, match="is not 8 times"):
        diagnostics.shift(whole[:-8], lr, 8)


def test_rk13_rk14_each_sign_fires_on_a_network_that_lacks_something_and_not_on_the_good_one():
    case = sandstone.case("twin", 0, edge=18, images=1, image_edge=18)
    lr, phase_map = case.trusted(case.lr[1:-1, 1:-1, 1:-1])
    wanted = np.bincount(case.truth.ravel(), minlength=4) / case.truth.size
    found = {}
    for name in ("rock-twin-0", "study-rock-no-noise-0", "study-rock-no-anchor-0"):
        model = models.load(name)
        samples = [
            superres.superres(model, case.cleaned().lr, seed, progress=False) for seed in (0, 1)
        ]
        found[name] = (
            diagnostics.collapsed(samples, wanted),
            diagnostics.drifted(samples[0], lr, 8, "blur", phase_map),
        )
    assert found["rock-twin-0"] == (None, None)
    assert "all alike" in found["study-rock-no-noise-0"][0]
    assert "do not come back" in found["study-rock-no-anchor-0"][1]


def test_a_copy_is_found_turned_and_in_any_place_and_another_rock_is_not_one(case):
    rng = np.random.default_rng(0)
    image, other = (rng.integers(0, 3, (40, 50)).astype(np.uint8) for _ in range(2))
    copy = np.rot90(image[5:21, 30:46])[:, ::-1]
    plain = np.zeros((16, 16), np.uint8)
    wrong = copy.copy()
    wrong[:4] = (wrong[:4] + 1) % 3
    found = diagnostics.likeness([plain, copy, wrong], [other, image], 2)
    assert np.allclose(sorted(found), [0.75, 1.0])
    assert diagnostics.likeness([copy], [other])[0] < 0.6
    assert diagnostics.likeness([plain], [case.hr[0] * 0])[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="does not fit into"):
        diagnostics.likeness([image], [copy])


SQUARE = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: diagnostics.likeness([SQUARE], []), "at least one square and one image"),
        (lambda: diagnostics.likeness(SQUARE, [SQUARE]), "2D"),
        (lambda: diagnostics.likeness([255 * (SQUARE + 1)], [SQUARE]), "renumber"),
        (lambda: diagnostics.likeness([SQUARE.astype(float)], [SQUARE]), "whole numbers"),
        (lambda: diagnostics.shift(SQUARE, SQUARE[::2, ::2], 2), "give \\(D, H, W\\)"),
    ],
)
def test_what_is_no_volume_or_square_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
