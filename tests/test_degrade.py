"""Imaging operators: SR-06 to SR-10, SR-26, GAP-06, GAP-16."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib.losses import voxelwise_loss
from srlib.models import SuperRes
from srlib.physics import coarse_size, downsample, exact_scale, gaussian_kernel, simulate_lr
from srlib.physics.downsampling import block_weights, kernel_size, nearest_scale

DIVISORS = range(8, 65)


def by_the_book(x: torch.Tensor, scale_factor: float, kernel: torch.Tensor) -> torch.Tensor:
    """The same operator written out: 3D convolution per phase, then trilinear interpolation."""
    k = len(kernel)
    padded = F.pad(x, (k // 2,) * 6, mode="replicate")
    weight = kernel[None, None].expand(x.shape[1], 1, k, k, k)
    blurred = F.conv3d(padded, weight, groups=x.shape[1])
    size = [coarse_size(n, scale_factor) for n in x.shape[2:]]
    return F.interpolate(blurred, size=size, mode="trilinear", align_corners=False)


@pytest.mark.parametrize(
    ("scale_factor", "k", "sigma"),
    [(1.6, 1, 0.5), (2, 1, 0.5), (4, 3, 0.8), (64 / 13, 5, 1.1), (8, 7, 1.4)],
)
def test_sr07_five_kernels(scale_factor, k, sigma):
    kernel = gaussian_kernel(scale_factor)
    assert kernel.shape == (k, k, k) and kernel_size(scale_factor) == k
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    line = kernel.sum((0, 1))
    for step in range(k // 2):
        ratio = line[k // 2 - step - 1] / line[k // 2 - step]
        assert ratio.item() == pytest.approx(np.exp(-(2 * step + 1) / 2 / sigma**2), rel=1e-5)


@pytest.mark.parametrize(
    ("scale_factor", "weights"),
    [
        (2, [0.5, 0.5]),
        (4, [0.1195, 0.3805, 0.3805, 0.1195]),
        (8, [0.0145, 0.0664, 0.1635, 0.2556, 0.2556, 0.1635, 0.0664, 0.0145]),
    ],
)
def test_sr07_block_weights(scale_factor, weights):
    found = block_weights(scale_factor)
    assert found.tolist() == pytest.approx(weights, abs=5.1e-5)
    assert found.sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("d", DIVISORS)
def test_sr06_all_57_scale_factors_are_exact(d):
    for scale in (64 / d, Fraction(64, d), round(64 / d, 9)):
        assert exact_scale(scale) == Fraction(64, d)
        assert coarse_size(64, scale) == d
    x = torch.rand(1, 1, 64, 64, 64)
    for mode in ("blur", "nearest"):
        assert downsample(x, 64 / d, mode).shape[2:] == (d, d, d)


@pytest.mark.parametrize("d", DIVISORS)
def test_sr06_paper_generator_makes_64_from_every_d(d):
    with torch.device("meta"):
        model = SuperRes(2, 3, 64 / d)
        assert model(torch.empty(1, 3, d, d, d)).shape == (1, 3, 64, 64, 64)


@pytest.mark.parametrize("bad", [0, -1, 10.1, 0.5, float("nan"), float("inf"), "four", None])
def test_sr06_other_scale_factors_are_refused(bad):
    with pytest.raises(ValueError, match="choose one, such as 4, 2.5"):
        exact_scale(bad)


def test_a_number_between_fractions_is_refused_with_the_next_one_which_will_do():
    with pytest.raises(ValueError, match="choose one, 201/64"):
        exact_scale(np.pi)
    assert exact_scale(201 / 64) == Fraction(201, 64)


@pytest.mark.parametrize("scale", [1, 2.5, 3, 10 / 3, 5, 6, 7, 9.2, 10])
def test_any_fraction_from_1_to_10_is_exact(scale):
    exact = exact_scale(scale)
    assert float(exact) == pytest.approx(scale, rel=1e-12) and exact.denominator <= 5
    n = exact.numerator * (3 if exact.denominator > 3 else 4)
    x = torch.rand(1, 1, n, n, exact.numerator)
    for mode in ("blur", "nearest"):
        assert downsample(x, scale, mode).shape[2:] == tuple(int(k / exact) for k in x.shape[2:])
    even = downsample(torch.ones_like(x), scale)
    assert torch.allclose(even, torch.ones_like(even), atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "within", "nearest"),
    [
        (3.0769, 0.005, Fraction(40, 13)),
        (3.0769, 0.03, Fraction(3)),
        (3.2004, 0.005, Fraction(16, 5)),
        (0.7, 0, Fraction(1)),
        (12, 0, Fraction(10)),
    ],
)
def test_the_nearest_scale_factor_has_the_smallest_denominator_that_will_do(ratio, within, nearest):
    assert nearest_scale(ratio, within) == nearest


@pytest.mark.parametrize(("n", "hint"), [(62, "crop it to 60"), (3, "at least 4")])
def test_sr06_a_size_that_does_not_divide_says_what_would(n, hint):
    with pytest.raises(ValueError, match=hint):
        coarse_size(n, 4)


@pytest.mark.parametrize(
    ("scale_factor", "shape"), [(4, (16, 24, 12)), (8, (16, 8, 24)), (64 / 13, (64, 128, 64))]
)
def test_sr08_downsample_is_blur_then_trilinear(scale_factor, shape):
    x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    expected = by_the_book(x, scale_factor, gaussian_kernel(scale_factor))
    assert torch.allclose(downsample(x, scale_factor), expected, atol=2e-6)


@pytest.mark.parametrize("at", [(0, 0, 0), (5, 2, 7), (11, 7, 15)])
def test_sr08_one_voxel_is_spread_by_the_block_weights(at):
    x = torch.zeros(1, 1, 12, 8, 16)
    x[(0, 0, *at)] = 1
    weights = block_weights(4)
    share = torch.stack([weights[i % 4] for i in at]).prod()
    seen = downsample(x, 4)
    cell = tuple(i // 4 for i in at)
    assert seen[(0, 0, *cell)].item() == pytest.approx(share.item(), rel=1e-5)
    assert seen.sum().item() == pytest.approx(share.item(), rel=1e-5)


def test_sr10_wide_kernels_of_one_weight_are_binning_at_scale_2():
    x = torch.rand(1, 1, 8, 6, 4)
    assert torch.allclose(downsample(x, 2), F.avg_pool3d(x, 2), atol=1e-6)
    flat = block_weights(4, sigma=1e6)
    assert flat.tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 3, 1 / 6], abs=1e-6)
    sharp = block_weights(4, sigma=1e-2)
    assert sharp.tolist() == pytest.approx([0.5, 0.5])


def test_sr09_nearest_is_strided():
    x = torch.rand(2, 3, 8, 12, 16)
    assert torch.equal(downsample(x, 4, "nearest"), x[:, :, ::4, ::4, ::4])


def test_gap16_centre_offset_takes_the_middle_of_each_block():
    x = torch.rand(1, 1, 8, 12, 16)
    centre = downsample(x, 4, "nearest", offset="centre")
    assert torch.equal(centre, x[:, :, 2::4, 2::4, 2::4])
    odd = torch.arange(64.0).view(1, 1, 64, 1, 1).expand(1, 1, 64, 64, 64)
    picked = downsample(odd, 1.6, "nearest")[0, 0, :, 0, 0]
    assert picked.tolist() == [int(i * Fraction(8, 5)) for i in range(40)]


def test_sr08_every_fine_voxel_gets_a_gradient_through_the_loss():
    rng = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 3, 8, 12, 16, generator=rng, requires_grad=True)
    lr = F.one_hot(torch.randint(0, 3, (1, 2, 3, 4), generator=rng), 3).movedim(-1, 1).float()
    for mode, reached in (("blur", 1.0), ("nearest", 1 / 64)):
        loss = voxelwise_loss((0.3 * logits).softmax(1), lr, 4, mode, inverse_temperature=10.0)
        (slope,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(slope).all()
        assert (slope != 0).float().mean().item() == pytest.approx(reached)


def test_sr08_the_softmax_makes_the_coarse_volume_nearly_one_hot():
    rng = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 2, (1, 4, 4, 4), generator=rng)
    coarse = F.one_hot(labels, 2).movedim(-1, 1).float()
    fine = 0.55 * coarse + 0.45 * (1 - coarse)  # a majority of 55 % in every block
    fine = F.interpolate(fine, scale_factor=4)
    sharp = torch.softmax(100 * fine, 1).amax(1)
    assert sharp.min() > 0.9999
    assert voxelwise_loss(fine, coarse, 4) < 1e-3
    assert voxelwise_loss(fine, 1 - coarse, 4) > 0.99


def test_sr26_five_panels():
    rng = np.random.default_rng(4)
    blocks = rng.integers(0, 3, (8, 6, 4), dtype=np.uint8)
    labels = np.kron(blocks, np.ones((6, 6, 6), np.uint8))[:, :32]
    panels = simulate_lr(labels, 4, phase=1)
    assert list(panels) == ["original", "chosen", "blurred", "downsampled", "lr"]
    assert np.array_equal(panels["chosen"], labels == 1)
    grey = torch.from_numpy(panels["chosen"]).float()[None, None]
    padded = F.pad(grey, (1,) * 6, mode="replicate")
    blurred = F.conv3d(padded, gaussian_kernel(4)[None, None])
    assert np.allclose(panels["blurred"], blurred[0, 0].numpy(), atol=1e-6)
    coarse = F.interpolate(blurred, scale_factor=0.25, mode="trilinear")[0, 0].numpy()
    assert panels["downsampled"].shape == (12, 8, 6)
    assert np.allclose(panels["downsampled"], coarse, atol=1e-6)
    assert panels["lr"].dtype == np.uint8
    assert np.array_equal(panels["lr"], panels["downsampled"] > 0.5)
    assert 0.1 < panels["lr"].mean() < 0.6
