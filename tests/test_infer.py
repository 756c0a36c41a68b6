"""Inference: SR-05, SR-24, SR-28, GAP-05; noise, exact tiles."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats

from srlib import data, models
from srlib.inference import interpolation, tiling
from srlib.inference.superres import generate, superres
from srlib.inference.tiling import position_noise
from srlib.models import SuperRes, SuperResLite


class Nearest(torch.nn.Module):
    """Repeats each coarse voxel: the right answer is known, and it takes no time."""

    def __init__(self, scale_factor: int = 4, n_lr: int = 3) -> None:
        super().__init__()
        self.scale_factor, self.n_lr = scale_factor, n_lr
        self.noise_channels, self.halo, self.coarse_halo = 0, 1, 0
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=self.scale_factor)


def labels(shape, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, shape, dtype=np.uint8)


def blocks(lr: np.ndarray, factor: int) -> np.ndarray:
    return np.kron(lr, np.ones((factor,) * 3, np.uint8))


# Noise


def test_noise_is_standard_normal_and_white():
    noise = position_noise(3, 2, (5, 0, 9), (60, 50, 70))
    assert noise.dtype == np.float32 and noise.shape == (2, 60, 50, 70)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.var() == pytest.approx(1, abs=0.01)
    assert stats.kstest(noise.ravel()[::7], "norm").pvalue > 0.001
    for axis in (1, 2, 3):
        near = np.moveaxis(noise, axis, 0)
        assert np.mean(near[1:] * near[:-1]) == pytest.approx(0, abs=0.015)
    assert np.mean(noise[0] * noise[1]) == pytest.approx(0, abs=0.015)


def test_noise_depends_on_position_only():
    whole = position_noise(1, 3, (0, 0, 0), (12, 10, 14))
    part = position_noise(1, 3, (4, 7, 2), (5, 3, 9))
    assert np.array_equal(part, whole[:, 4:9, 7:10, 2:11])


def test_noise_differs_by_seed_channel_and_axis():
    shape = (20, 20, 20)
    cube = position_noise(1, 2, (0, 100, 200), shape)
    others = [position_noise(seed, 1, (0, 100, 200), shape)[0] for seed in (0, 2, -1, 2**40)]
    others.append(position_noise(1, 1, (0, 200, 100), shape)[0].transpose(0, 2, 1))
    others.append(position_noise(1, 1, (200, 100, 0), shape)[0].transpose(2, 1, 0))
    for other in [cube[1], *others]:
        assert np.corrcoef(cube[0].ravel(), other.ravel())[0, 1] == pytest.approx(0, abs=0.05)
    assert position_noise(1, 0, (0, 0, 0), (4, 4, 4)).shape == (0, 4, 4, 4)


def test_sr28_noise_repeats_with_its_period():
    period = (6, 5, 7)
    noise = position_noise(2, 1, (0, 0, 0), (12, 10, 14), period)
    assert np.array_equal(noise, np.tile(noise[:, :6, :5, :7], (1, 2, 2, 2)))
    shifted = position_noise(2, 1, (13, 11, 3), (3, 3, 3), period)
    assert np.array_equal(shifted, noise[:, 1:4, 1:4, 3:6])


def test_sr28_a_periodic_noise_makes_a_periodic_volume():
    torch.manual_seed(0)
    model = SuperResLite(2, 2, 2, noise_channels=2, width=4, skip=False)
    lr = np.zeros((12 + 2 * model.halo,) * 3, np.uint8)
    sr = superres(model, lr, period=(6, 6, 6))
    inner = sr[(slice(2 * model.halo - 2, 2 - 2 * model.halo),) * 3]
    assert inner.shape == (24, 24, 24) and set(np.unique(inner)) == {0, 1}
    for axis in range(3):
        first, second = np.split(inner, 2, axis)
        assert np.array_equal(first, second)
    plain = superres(model, lr)[(slice(2 * model.halo - 2, 2 - 2 * model.halo),) * 3]
    assert (plain[:12] != plain[12:]).mean() > 0.05


def test_numpy_seeds_and_whole_floats_are_numbers():
    lr = labels((6, 6, 6))
    assert (
        position_noise(np.int64(7), 1, (0, 0, 0), (2, 2, 2))
        == position_noise(7, 1, (0, 0, 0), (2, 2, 2))
    ).all()
    for method in ("nearest", "linear"):
        assert (
            interpolation.interpolate(lr, 3, 4.0, method)
            == interpolation.interpolate(lr, 3, 4, method)
        ).all()


# Tiles


@pytest.mark.parametrize("crop", [0, 1, 2])
@pytest.mark.parametrize("tile", [1, 3, 4, 32, None])
def test_gap05_every_voxel_lands_in_its_place(crop, tile):
    lr = labels((6, 9, 7))
    inner = lr[crop : 6 - crop, crop : 9 - crop, crop : 7 - crop]
    for factor in (2, 4):
        sr = superres(Nearest(factor), lr, tile=tile, crop=crop)
        assert sr.dtype == np.uint8
        assert np.array_equal(sr, blocks(inner, factor))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("scale_factor", [2, 3, 4, 5, 8, 10])
def test_sr24_tiles_of_the_laptop_generator_are_exact(scale_factor, axis):
    torch.manual_seed(0)
    model = SuperResLite(3, 3, scale_factor, width=16 if scale_factor < 8 else 4)
    lr = np.moveaxis(labels((26, 4, 5)), 0, axis)
    whole = superres(model, lr, tile=64)
    assert min(np.bincount(whole.ravel()) / whole.size) > 0.05
    for tile in (3, 8, 13):
        assert np.array_equal(superres(model, lr, tile=tile), whole), tile


def test_tiles_of_a_normalised_network_are_exact():
    """Batch normalisation rounds otherwise where its input is not contiguous: nine voxels here."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((34,) * 3), 2)
    model, lr = models.load("case1-real-0"), (field > 0).astype(np.uint8)
    whole = superres(model, lr, tile=32, progress=False)
    assert np.array_equal(superres(model, lr, tile=24, progress=False), whole)


@pytest.mark.parametrize("texture", [0, 2])
@pytest.mark.parametrize("scale_factor", [2, 4, 8])
def test_tiles_with_a_noise_value_for_every_fine_voxel_are_exact(scale_factor, texture):
    torch.manual_seed(0)
    model = SuperResLite(2, 2, scale_factor, width=4, fine_noise=True, texture=texture)
    with torch.no_grad():
        model.finish[0].weight[:, 2:] *= 5  # the noise should be seen
        model.finish[-1].weight *= 20
    lr = labels((20, 4, 5), 2)
    whole = superres(model, lr, seed=3, tile=64)
    assert not np.array_equal(superres(model, lr, seed=4), whole)
    for tile in (3, 7):
        assert np.array_equal(superres(model, lr, seed=3, tile=tile), whole), tile
    quiet = position_noise(0, 1, (5, 0, 9), (40, 40, 40), uniform=True)
    assert abs(quiet.mean()) < 0.02 and quiet.std() == pytest.approx(1, abs=0.01)
    assert np.array_equal(quiet[:, 3:], position_noise(0, 1, (8, 0, 9), (37, 40, 40), None, True))


@pytest.mark.parametrize("scale_factor", [2.5, 10 / 3, 6.5])
def test_tiles_at_a_fraction_are_exact(scale_factor):
    torch.manual_seed(0)
    model = SuperResLite(2, 2, scale_factor, width=4, grid_alignment="centre")
    lr = labels((26, 8, 8), 2)
    whole = superres(model, lr, tile=24)
    assert whole.shape == tuple(round(scale_factor * (n - 2)) for n in lr.shape)
    assert np.array_equal(superres(model, lr, tile=6), whole)


def test_tiles_at_a_fractional_scale_factor_are_exact():
    torch.manual_seed(0)
    model = SuperResLite(2, 2, 1.6, width=8, fine_noise=True, grid_alignment="centre")
    lr = labels((22, 12, 7), 2)
    whole = superres(model, lr, tile=40)
    assert whole.shape == (32, 16, 8)
    for tile in (5, 10):
        assert np.array_equal(superres(model, lr, tile=tile), whole), tile
    plain = interpolation.interpolate(lr[1:-1, 1:-1, 1:-1], 2, 1.6, "linear")
    near = interpolation.interpolate(lr[1:-1, 1:-1, 1:-1], 2, 1.6, "nearest")
    assert plain.shape == near.shape == whole.shape
    assert near[:, 0, 0].tolist() == [lr[1 + int(i / 1.6), 1, 1] for i in range(32)]


def test_a_volume_from_noise_alone_computes_no_more_than_its_fine_halo():
    model = SuperResLite(0, 2, 8, noise_channels=2, width=4)
    edges = []
    model.head.register_forward_hook(lambda *args: edges.append(tuple(args[2].shape[2:])))
    generate(model, (16, 24, 8))
    # On the grid of the head: 1 voxel on each side for itself, 1 for two convolutions on the fine.
    assert edges == [tuple(4 * n + 2 * (1 + 1) for n in (2, 3, 1))]


@pytest.mark.parametrize("scale_factor", [2, 4])
def test_sr24_tiles_of_the_paper_generator_are_exact(scale_factor):
    torch.manual_seed(0)
    model, lr = SuperRes(2, 2, scale_factor).eval(), labels((3, 2, 15), 2)
    with torch.no_grad():  # every phase should win somewhere
        x = torch.cat([data.one_hot(lr, 2), torch.randn(1, 3, 2, 15)])[None]
        model.head.bias -= model.logits(x).mean((0, 2, 3, 4))
    whole = superres(model, lr, tile=64, crop=0)
    assert min(np.bincount(whole.ravel()) / whole.size) > 0.05
    for tile in (3, 5):
        assert np.array_equal(superres(model, lr, tile=tile, crop=0), whole), tile


def test_sr24_a_halo_that_is_too_small_would_be_seen():
    torch.manual_seed(0)
    model = SuperResLite(3, 3, 4, width=16)
    lr = labels((26, 4, 5))
    whole = superres(model, lr, tile=64)
    model.halo -= 2
    assert not np.array_equal(superres(model, lr, tile=3), whole)


def test_sr24_crop_only_cuts():
    torch.manual_seed(0)
    model = SuperResLite(2, 2, 4, width=4)
    lr = labels((7, 8, 9), 2)
    whole = superres(model, lr, crop=0)
    assert np.array_equal(superres(model, lr), whole[4:-4, 4:-4, 4:-4])
    assert tiling.output_shape(model, lr.shape) == (20, 24, 28)


def test_a_model_comes_back_in_the_mode_it_was_in():
    model = SuperRes(2, 2, 2).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    superres(model, labels((3, 3, 4), 2))
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_a_tile_needs_none_of_the_others():
    torch.manual_seed(0)
    model = SuperResLite(3, 3, 2, width=4).train()
    lr = labels((11, 13, 9))
    whole, corners = superres(model, lr, seed=5), tiling.corners(lr.shape, 4)
    assert len(corners) == 3 * 3 * 2 and corners[:2] == [(1, 1, 1), (1, 1, 5)]
    where, found = tiling.tile_at(model, lr, corners[-1], seed=5, tile=4)
    assert where == (slice(16, 18), slice(16, 22), slice(8, 14))
    assert np.array_equal(found, whole[where]) and model.training
