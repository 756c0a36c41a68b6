"""Confusion, surfaces and small bodies, on arrays whose answer can be counted by hand."""

import numpy as np
import pytest

from srlib import metrics


def test_confusion_counts_what_each_true_phase_was_taken_for():
    truth = np.array([[0, 0, 0, 0], [1, 1, 2, 2]])
    found = np.array([[0, 0, 0, 1], [1, 1, 1, 2]])
    rows = metrics.confusion(found, truth, 4)
    assert np.allclose(rows[:3], [[0.75, 0.25, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0]])
    assert np.isnan(rows[3]).all()
    assert metrics.confusion(truth, truth).shape == (3, 3)
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.confusion(found[:1], truth)


def test_surface_of_a_cube_is_its_six_faces():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[3:5, 3:5, 3:5] = 2
    area = metrics.surface_areas(labels, 3, voxel=0.5)
    faces = 6 * 4 * 0.5**2 / (10 * 0.5) ** 3
    # Interior faces only: 10 * 10 * 9 in each direction stand for 1000.
    assert np.allclose(area, [faces / 0.9, 0, faces / 0.9])


def test_small_bodies_are_counted_per_volume_and_large_ones_are_not():
    labels = np.ones((12, 12, 12), np.uint8)
    labels[1, 1, 1] = labels[3, 3, 3:5] = 0
    labels[6:10, 6:10, 6:10] = 0
    density, share = metrics.small_bodies(labels, 0, below=64, voxel=2.0)
    assert density == pytest.approx(2 / (12 * 2.0) ** 3)
    assert share == pytest.approx(3 / 12**3)
    assert metrics.small_bodies(labels, 0, below=65)[0] == pytest.approx(3 / 12**3)
    labels[2, 2, 2] = 0  # touches both at a corner or an edge, and no face
    assert metrics.small_bodies(labels, 0, below=64)[0] == pytest.approx(3 / 12**3)
    assert metrics.small_bodies(np.ones((4, 4, 4), int))[0] == 0


def test_mixed_up_counts_within_the_pair_only():
    truth = np.array([[1, 1, 2, 2, 0, 3]])
    found = np.array([[1, 2, 2, 2, 1, 1]])
    assert metrics.confused_fraction(found, truth, (1, 2)) == 1 / 4
    assert np.isnan(metrics.confused_fraction(found, truth, (4, 5)))


def test_class_errors_of_a_volume_that_is_right_and_of_one_that_is_not():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (20, 20, 20)).astype(np.uint8)
    names = ["pore", "quartz", "feldspar"]
    right = metrics.class_errors(truth, truth, names, pair=(1, 2), max_lag=10)
    assert right.pop("small pores") == 1 and set(right.values()) == {0.0}
    other = np.where(truth == 0, 1, truth)
    errors = metrics.class_errors(other, truth, names, pair=(1, 2), max_lag=10)
    share = 100 * float((truth == 0).mean())
    assert errors["pore, points"] == pytest.approx(-share)
    assert errors["quartz, points"] == pytest.approx(share)
    assert errors["surface of pore %"] == -100 and errors["small pores"] == 0
    assert errors["two-point"] > 0.3 and errors["mixed up"] == 0


def test_class_errors_of_what_the_truth_has_none_of_are_no_numbers():
    truth = np.ones((12, 12, 12), np.uint8)
    truth[:6] = 2
    found = metrics.class_errors(
        truth, truth, ["pore", "quartz", "feldspar"], pair=(1, 2), max_lag=4
    )
    assert np.isnan(found["surface of pore %"]) and np.isnan(found["small pores"])
    assert found["surface of quartz %"] == 0


def test_errors_of_images_are_zero_for_the_same_and_signed_for_others():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (20, 8, 8))
    truth = np.kron(coarse, np.ones((1, 8, 8), int)).astype(np.uint8)
    names, how = ["pore", "a", "b"], dict(max_lag=20, below=100)
    same = metrics.image_errors(truth[::-1], truth, names, **how)
    assert all(same[k] == pytest.approx(0) for k in same if "points" in k or "surface" in k)
    assert same["two-point"] < 1e-9
    assert same["variety"] == same["small pores"] == pytest.approx(1)
    more = truth.copy()
    more[truth == 2] = 0
    found = metrics.image_errors(more, truth, names, **how)
    assert found["pore, points"] == pytest.approx(100 * np.mean(truth == 2))
    assert found["surface of b %"] == -100 and found["surface of a %"] == pytest.approx(0)
    specks = truth.copy()
    specks[:, 4::8, 4::8] = np.where(truth[:, 4::8, 4::8] == 1, 0, truth[:, 4::8, 4::8])
    assert metrics.image_errors(specks, truth, names, **how)["small pores"] > 2
    alike = np.repeat(truth[:1], 20, 0)
    assert metrics.image_errors(alike, truth, names, **how)["variety"] == 0
    with pytest.raises(ValueError, match="squares of one size"):
        metrics.image_errors(truth[:, :32], truth, names)


def test_errors_of_small_volumes_and_lists_need_no_lag():
    rng, names = np.random.default_rng(0), ["pore", "a", "b"]
    volume = rng.integers(0, 3, (12, 12, 12)).astype(np.uint8)
    assert metrics.class_errors(volume, volume, names, pair=(1, 2))["two-point"] == 0
    assert metrics.image_errors(list(volume), list(volume), names)["two-point"] == 0
