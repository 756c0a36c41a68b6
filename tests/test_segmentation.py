"""Segmentation from few labels: the network, its training, and the measures at the borders."""

import numpy as np
import pytest
import torch

from srlib import models, training
from srlib.metrics import segmentation


def discs(n: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Dark discs in a bright noisy matrix, and where they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:n, :n]
    labels = np.zeros((n, n), np.uint8)
    for _ in range(6):
        cy, cx, r = rng.uniform(0, n, 2).tolist() + [rng.uniform(5, 10)]
        labels[np.hypot(y - cy, x - cx) < r] = 1
    grey = 0.5 - labels + 0.15 * rng.standard_normal((n, n))
    return np.clip(grey, -1, 1).astype(np.float32), labels


# The network


def test_the_network_has_logits_of_every_class_and_comes_back_from_disk(tmp_path):
    model = models.AttentionResUNet(classes=3, width=5, downs=2).eval()
    x = torch.rand(2, 1, 12, 20) * 2 - 1
    logits = model(x)
    assert logits.shape == (2, 3, 12, 20) and logits.dtype == torch.float32
    again = models.load(models.save(model, tmp_path / "a.safetensors"))
    assert again.config == dict(classes=3, width=5, downs=2, channels=1)
    assert torch.equal(again(x), logits)


def test_a_pixel_depends_on_its_neighbourhood_only():
    torch.manual_seed(0)
    model = models.AttentionResUNet(width=4, downs=2).eval()
    x = torch.rand(1, 1, 160, 160)
    other = x.clone()
    other[..., 80:] = 0.0
    with torch.inference_mode():
        same = model(x)[..., :16] == model(other)[..., :16]
    assert same.all()


def test_a_gate_decides_what_a_skip_lets_through():
    gate = models.AttentionResUNet(width=4, downs=1).gate[0]
    x, g = torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)
    with torch.no_grad():
        gate.score.weight.zero_()
        for bias, share in ((-50.0, 0.0), (0.0, 0.5), (50.0, 1.0)):
            gate.score.bias.fill_(bias)
            assert torch.allclose(gate(x, g), share * x, atol=1e-6)
        gate.score.weight.fill_(1.0)
        gate.score.bias.zero_()
        assert not torch.allclose(gate(x, g), gate(x, 2 * g)), "the coarser level has its say"


@pytest.mark.parametrize("shape", [(1, 1, 12, 10), (1, 2, 16, 16), (1, 16, 16)])
def test_the_network_refuses_sizes(shape):
    with pytest.raises(ValueError, match="multiples of 8"):
        models.AttentionResUNet(width=4)(torch.zeros(shape))
    with pytest.raises(ValueError, match="2 or more"):
        models.AttentionResUNet(classes=1)


# The training


def test_it_learns_discs_and_the_same_seed_learns_the_same():
    grey, labels = discs()
    how = dict(steps=40, width=8, progress=False)
    model = training.fit_segmenter(grey, labels, seed=1, **how)
    new, truth = discs(seed=5)
    found = training.segment(model, new)
    assert found.dtype == np.uint8 and found.shape == new.shape
    assert segmentation.dice(found == 1, truth == 1) > 0.9
    again = training.fit_segmenter(grey, labels, seed=1, **how)
    assert again.meta["losses"] == model.meta["losses"]
    assert (
        training.fit_segmenter(grey, labels, seed=2, **how).meta["losses"] != model.meta["losses"]
    )


def test_pixels_outside_of_the_mask_teach_nothing():
    grey, labels = discs()
    mask = np.zeros(grey.shape, bool)
    mask[:, :40] = True
    other = np.where(mask, labels, 1 - labels)
    how = dict(steps=3, width=4, progress=False)
    first, second = (training.fit_segmenter(grey, y, mask, **how) for y in (labels, other))
    assert first.meta["losses"] == second.meta["losses"]
    assert first.meta["losses"] != training.fit_segmenter(grey, labels, **how).meta["losses"]
    unknown = np.where(mask, labels, 7)
    training.fit_segmenter(grey, unknown, mask, **how)


def test_segment_works_on_any_size_and_on_a_finer_grid():
    torch.manual_seed(0)
    model = models.AttentionResUNet(width=4, downs=2).eval()
    with torch.no_grad():  # logits (x, 0): the network hands its input on
        for p in model.parameters():
            p.zero_()
        model.stem.weight[0, 0, 1, 1] = 1
        for join in model.join:
            join.weight[0, 4 if join.in_channels == 8 else 8, 1, 1] = 2  # a gate of 1/2
        model.last.weight[0, 0] = 1
    ramp = np.tile(np.array([-1, -1, -0.6, 0.2, 1], np.float32), (3, 1))
    signs = training.segment(model, ramp)
    assert signs.tolist() == [[1, 1, 1, 0, 0]] * 3
    fine = training.segment(model, ramp[None], scale=2)
    assert fine.shape == (1, 6, 10)
    assert fine[0].tolist() == [[1] * 6 + [0] * 4] * 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(labels=np.zeros((32, 30), np.uint8)), "should be alike"),
        (dict(labels=np.full((32, 32), 2, np.uint8)), "label 2 is not one of 0 to 1"),
        (dict(images=np.full((32, 32), np.nan)), "finite"),
        (dict(images=np.full((32, 32), 7.0)), "in \\[-1, 1\\]"),
        (dict(images=np.zeros(32)), "give a slice"),
        (dict(mask=np.zeros((32, 32), bool)), "not empty"),
        (dict(mask=np.ones((16, 32), bool)), "mask"),
        (dict(cuts=5), "take fewer"),
        (dict(cuts=0), "take fewer"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    given = dict(images=np.zeros((32, 32)), labels=np.zeros((32, 32), np.uint8)) | change
    with pytest.raises(ValueError, match=words):
        training.fit_segmenter(**given, steps=1, width=4, progress=False)


def test_segment_refuses_bad_images():
    model = models.AttentionResUNet(width=4)
    for image, scale, words in (
        (np.full((16, 16), np.inf), 1, "finite"),
        (np.zeros((1, 1, 16, 16)), 1, "give a slice"),
        (np.zeros((16, 16)), 0, "whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            training.segment(model, image, scale)


# The measures


def half(edge: int, high: int = 8, wide: int = 12) -> np.ndarray:
    """A particle left of a straight edge."""
    return np.tile(np.arange(wide) < edge, (high, 1))


def test_dice_of_two_halves():
    assert segmentation.dice(half(5), half(8)) == pytest.approx(2 * 5 / 13)
    assert segmentation.dice(half(8), half(5)) == segmentation.dice(half(5), half(8))
    mask = half(6)
    assert segmentation.dice(half(5), half(8), mask) == pytest.approx(2 * 5 / 11)
    assert segmentation.dice(half(0), half(0)) == 1 and segmentation.dice(half(0), half(3)) == 0


def test_distances_from_a_straight_edge():
    far = segmentation.edge_distance(half(5))
    assert far[3].tolist() == [4.5, 3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5, -4.5, -5.5, -6.5]
    assert np.isneginf(segmentation.edge_distance(half(0))).all()


def test_the_outline_is_inside_and_the_border_of_the_image_is_none():
    line = segmentation.outline(half(5))
    assert line.sum() == 8 and line[:, 4].all()


@pytest.mark.parametrize(("moved", "score"), [(0, 1), (1, 1), (2, 0), (-1, 1), (-2, 0)])
def test_a_moved_edge_is_within_one_pixel_or_not(moved, score):
    assert segmentation.boundary_f(half(5 + moved), half(5)) == score
    assert segmentation.boundary_f(half(5 + moved), half(5), within=2) == 1


def test_the_boundary_score_weighs_precision_and_recall():
    truth, found = half(3, wide=30), half(3, wide=30)
    found[2:5, 20:23] = True  # an invented square with an outline of 8 pixels
    precision, recall = 8 / 16, 1
    expected = 2 * precision * recall / (precision + recall)
    assert segmentation.boundary_f(found, truth) == pytest.approx(expected)
    assert segmentation.boundary_f(truth, found) == pytest.approx(expected)
    mask = half(15, wide=30)
    assert segmentation.boundary_f(found, truth, mask=mask) == 1
    assert segmentation.boundary_f(half(0), half(0)) == 1
    assert (
        segmentation.boundary_f(half(0), half(3)) == 0 == segmentation.boundary_f(half(3), half(0))
    )


def test_accuracy_by_distance_finds_the_side():
    far, right, total = segmentation.accuracy_by_distance(half(7), half(5), reach=4)
    assert far.tolist() == [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]
    assert total.tolist() == [8] * 8
    assert right.tolist() == [8, 8, 0, 0, 8, 8, 8, 8]


def test_the_score_splits_near_and_far():
    truth, found = half(6), half(6)
    found[:, 5] = False  # a pixel off, at the edge only
    row = segmentation.score(np.stack([found]), np.stack([truth]))
    assert row["Dice elsewhere"] == 1 > row["Dice"] > row["Dice near edges"]
    assert row["Dice near edges"] == pytest.approx(2 * 2 / 5)
    assert row["boundary F, 1 px"] == 1


def test_measures_refuse_what_is_no_segmentation():
    with pytest.raises(ValueError, match="bool image"):
        segmentation.dice(half(3).astype(int), half(3))
    with pytest.raises(ValueError, match="bool image"):
        segmentation.boundary_f(half(3), half(3, high=9))
    with pytest.raises(ValueError, match="not empty"):
        segmentation.dice(half(3), half(3), np.zeros((8, 12), bool))
    with pytest.raises(ValueError, match="no slice"):
        segmentation.score([], [])
