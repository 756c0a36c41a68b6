"""Terms of the objective: SR-11, SR-12, SR-15, SR-29, ME-11, ME-12, GAP-03, GAP-18."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib.losses import (
    checkerboard_loss,
    critic_loss,
    generator_loss,
    gradient_penalty,
    interface_isotropy_loss,
    volume_fraction_loss,
    voxelwise_loss,
)

MERGED = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # pore and binder look alike


def channels(labels: torch.Tensor, n: int) -> torch.Tensor:
    return F.one_hot(labels.long(), n).movedim(-1, 1).float()


def pair(n: int, seed: int = 0, factor: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A fine volume of whole blocks, and the coarse volume that it is made of."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, n, (2, 3, 4, 5), generator=rng)
    fine = coarse
    for axis in (1, 2, 3):
        fine = fine.repeat_interleave(factor, axis)
    return fine, coarse


@pytest.mark.parametrize("mode", ["blur", "nearest"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_me11_zero_when_every_coarse_voxel_is_reproduced(mode, factor):
    fine, coarse = pair(3, factor=factor)
    loss = voxelwise_loss(channels(fine, 3), channels(coarse, 3), factor, mode)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("mode", ["blur", "nearest"])
@pytest.mark.parametrize("wrong", [1, 7])
def test_me11_gap03_it_is_the_share_of_wrong_voxels(m, mode, wrong):
    fine, coarse = pair(m, seed=m)
    flat = coarse.flatten()
    flat[torch.randperm(len(flat))[:wrong]] += 1
    loss = voxelwise_loss(channels(fine, m), channels(flat.view(coarse.shape) % m, m), 4, mode)
    assert loss.item() == pytest.approx(wrong / coarse.numel(), rel=1e-4)


def test_me11_one_fine_voxel_off_the_grid_is_invisible_when_under_sampled():
    fine, coarse = pair(2)
    fine[0, 5, 9, 3] = 1 - fine[0, 5, 9, 3]
    assert voxelwise_loss(channels(fine, 2), channels(coarse, 2), 4, "nearest") == 0
    fine[0, 4, 8, 12] = 1 - fine[0, 4, 8, 12]
    loss = voxelwise_loss(channels(fine, 2), channels(coarse, 2), 4, "nearest")
    assert loss.item() == pytest.approx(1 / coarse.numel())


@pytest.mark.parametrize("mode", ["blur", "nearest"])
def test_sr12_moving_binder_to_pore_is_seen_only_without_the_phase_map(mode):
    fine, coarse = pair(3, seed=5)
    flips = torch.rand(coarse.shape, generator=torch.Generator().manual_seed(6)) < 0.3
    coarse = (coarse == 1) ^ flips
    moved = fine.clone()
    moved[fine == 2] = 0
    assert (moved != fine).float().mean() > 0.2

    def loss(labels, lr, phase_map=None):
        return voxelwise_loss(channels(labels, 3), lr, 4, mode, phase_map).item()

    two, three = channels(coarse, 2), channels(coarse, 3)
    assert loss(moved, two, MERGED) == pytest.approx(loss(fine, two, MERGED), abs=1e-6)
    assert abs(loss(moved, three) - loss(fine, three)) > 0.01
    swapped = fine.clone()
    swapped[fine == 1] = 0
    assert abs(loss(swapped, two, MERGED) - loss(fine, two, MERGED)) > 0.01


def test_gap15_temperature_sharpens_the_comparison():
    fine, coarse = pair(2)
    soft = 0.6 * channels(fine, 2) + 0.4 * channels(1 - fine, 2)
    loss = [
        voxelwise_loss(soft, channels(coarse, 2), 4, inverse_temperature=t).item()
        for t in (1, 10, 100)
    ]
    for t, value in zip((1, 10, 100), loss, strict=True):
        assert value == pytest.approx(1 / (1 + np.exp(0.2 * t)) ** 2, rel=1e-3, abs=1e-9)
    under_sampled = voxelwise_loss(soft, channels(coarse, 2), 4, "nearest")  # without softmax
    assert under_sampled.item() == pytest.approx(0.4**2)


@pytest.mark.parametrize(("voxelwise", "anchored"), [(0.0049, False), (0.005, True), (0.2, True)])
def test_sr11_the_gate_has_two_branches(voxelwise, anchored):
    scores = torch.tensor([1.0, 4.0, -2.0], requires_grad=True)
    anchor = torch.tensor(voxelwise, requires_grad=True)
    loss = generator_loss(scores, anchor, consistency_weight=10.0, consistency_threshold=0.005)
    assert loss.item() == pytest.approx(-1.0 + (10 * voxelwise if anchored else 0))
    style, content = torch.autograd.grad(loss, (scores, anchor), allow_unused=True)
    assert style.tolist() == pytest.approx([-1 / 3] * 3)
    assert (content is not None and content.item() == 10) == anchored


def linear_critic(norm: float):
    direction = torch.arange(1.0, 2 * 3 * 5 + 1).view(1, 2, 3, 5)
    direction = direction / direction.norm() * norm
    return lambda images: (images * direction).sum((1, 2, 3)) + 7


@pytest.mark.parametrize(("norm", "expected"), [(1, 0.0), (2, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("weight", [10.0, 3.0])
def test_sr15_penalty_of_a_linear_critic(norm, expected, weight):
    real, fake = torch.rand(6, 2, 3, 5), torch.rand(6, 2, 3, 5)
    penalty = gradient_penalty(linear_critic(norm), real, fake, weight)
    assert penalty.item() == pytest.approx(weight * expected, abs=1e-5)


def test_sr15_the_slope_is_taken_between_real_and_fake():
    """A critic of slope 2 x: the mixture of images 0 and 1 has the penalty (2 eps - 1)^2."""
    real, fake = torch.ones(4000, 1, 1, 1), torch.zeros(4000, 1, 1, 1)
    rng = torch.Generator().manual_seed(0)
    penalty = gradient_penalty(lambda x: x.square().sum((1, 2, 3)), real, fake, 1.0, rng)
    assert penalty.item() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(("reals", "fakes"), [(64, 448), (5, 2), (1, 3)])
def test_gap18_unequal_batches_are_paired_at_random(reals, fakes):
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    real = torch.zeros(reals, 1, 2, 2)
    fake = 1 + torch.arange(fakes).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(1))
    assert len(seen[0]) == min(reals, fakes)
    if fakes > 400:  # images far beyond the first 64 take part
        assert seen[0].max() > 100


def test_sr15_the_penalty_reaches_the_critic_but_not_the_generator():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.Tanh())
    head = torch.nn.Linear(3, 1)
    fake = torch.rand(3, 1, 2, 2, requires_grad=True)
    penalty = gradient_penalty(lambda x: head(critic(x))[:, 0], torch.rand(3, 1, 2, 2), fake)
    penalty.backward()
    assert fake.grad is None
    assert critic[1].weight.grad.abs().sum() > 0


def test_me12_critic_loss_is_the_negative_gap_of_unequal_batches():
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0, 6.0, -1.0])
    assert critic_loss(real, fake).item() == pytest.approx(2 - 4)


def test_evenness_of_volumes_with_known_interfaces():
    z, y, x = torch.meshgrid(*[torch.arange(17)] * 3, indexing="ij")

    def loss(labels, scale_factor, isotropic=True):
        return interface_isotropy_loss(channels(labels[None], 2), scale_factor, isotropic).item()

    everywhere = (z + y + x) % 2
    assert loss(everywhere, 4) == pytest.approx(0, abs=1e-6)
    twice_along_z = (z + y // 2 + x // 2) % 2  # densities 1, 1/2, 1/2
    assert loss(twice_along_z, 1.6) == pytest.approx((0.25 + 2 * 0.0625) / 3)
    assert loss(twice_along_z, 1.6, isotropic=False) == pytest.approx(0, abs=1e-6)
    blocks = (z // 4 + y // 4 + x // 4) % 2  # all interfaces between coarse voxels
    for isotropic in (True, False):
        assert loss(blocks, 4, isotropic) == pytest.approx(3)
        assert loss(blocks[1:, 1:, 1:], 4, isotropic) == pytest.approx(3)
        assert loss(blocks, 2, isotropic) == pytest.approx(1)


def test_evenness_pulls_interfaces_off_the_coarse_grid():
    logits = channels((torch.arange(16) // 4 % 2).view(1, 16, 1, 1).expand(1, 16, 16, 16), 2)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(7))
    logits = (3 * logits + 0.1 * noise).requires_grad_()
    before = interface_isotropy_loss(logits.softmax(1), 4)
    (slope,) = torch.autograd.grad(before, logits)
    assert torch.isfinite(slope).all()
    assert interface_isotropy_loss((logits - 500 * slope).softmax(1), 4) < 0.9 * before


def test_balance_prices_the_phases_that_were_too_many():
    x = torch.rand(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)).softmax(1)
    wanted = torch.tensor([0.5, 0.4, 0.1])
    assert volume_fraction_loss(x, wanted, wanted) == 0
    x.requires_grad_()
    loss = volume_fraction_loss(x, torch.tensor([0.45, 0.4, 0.15]), wanted)
    (slope,) = torch.autograd.grad(loss, x)
    per_voxel = slope * x[:, 0].numel()
    for phase, price in enumerate((-0.1, 0.0, 0.5)):  # relative errors
        assert per_voxel[:, phase].allclose(torch.tensor(price), atol=1e-6)
    mean = x.detach().mean((0, 2, 3, 4))
    assert loss.item() == pytest.approx((-0.1 * mean[0] + 0.5 * mean[2]).item(), rel=1e-5)


ok, small = torch.rand(1, 3, 8, 8, 8), torch.rand(1, 3, 2, 2, 2)
WRONG = {
    "dimensions": ((ok[0], small, 4), "B, C, D, H, W"),
    "batches": ((ok, small.expand(2, -1, -1, -1, -1), 4), "one B for both"),
    "sizes": ((ok, ok, 4), r"needs an lr of \(2, 2, 2\)"),
    "indivisible": ((ok[..., :7], small, 4), "crop it to 4"),
    "phases": ((ok, small[:, :2], 4), "give a .* phase_map"),
    "mode": ((ok, small, 4, "sinc"), "'blur' or 'nearest'"),
    "map of another shape": ((ok, small[:, :2], 4, "blur", MERGED.T), "exactly one 1"),
    "map of halves": ((ok, small[:, :2], 4, "blur", [[0.5, 0.5]] * 3), "exactly one 1"),
    "map with a phase that looks like two": ((ok, small, 4, "blur", torch.ones(3, 3)), "one 1"),
    "ragged map": ((ok, small[:, :2], 4, "blur", [[1, 0], [1]]), "exactly one 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sr12_wrong_input_says_what_is_needed(case):
    arguments, hint = WRONG[case]
    with pytest.raises(ValueError, match=hint):
        voxelwise_loss(*arguments)


def test_sr15_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="differ in phases or size"):
        gradient_penalty(torch.sum, torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 9))


def test_sr31_one_sided_extra_material_is_free_and_missing_material_is_not():
    lr = torch.zeros(1, 2, 2, 2, 3)
    lr[:, 1, 0], lr[:, 0, 1] = 1, 1  # half solid, half pore
    sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    extra = sr.clone()
    extra[:, 1, 4:], extra[:, 0, 4:] = 1, 0
    missing = sr.clone()
    missing[:, 1, :4, :4], missing[:, 0, :4, :4] = 0, 1
    assert voxelwise_loss(extra, lr, 4, "nearest", one_sided=True) == 0
    assert voxelwise_loss(extra, lr, 4, "nearest") == 0.5
    assert voxelwise_loss(missing, lr, 4, "nearest", one_sided=True) == 0.25
    assert voxelwise_loss(missing, lr, 4, "nearest") == 0.25


def test_sr31_one_sided_extra_material_counts_beyond_what_is_spared():
    solid = torch.tensor([[[0, 1], [0, 0]], [[1, 0], [0, 0]]])
    lr = torch.stack([1.0 - solid, solid])[None]
    sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    extra = sr.clone()
    for z, x in ((0, 0), (4, 4)):  # two of eight coarse voxels, both pore
        extra[0, 0, z, 0, x], extra[0, 1, z, 0, x] = 0, 1
    given = dict(lr=lr, scale_factor=4, mode="nearest", one_sided=True)
    assert voxelwise_loss(extra, **given) == 0, "the public code: all is spared"
    for spare, loss in ((0.0, 0.25), (0.1, 0.15), (0.25, 0.0), (0.5, 0.0)):
        assert voxelwise_loss(
            extra, **given, false_positive_tolerance=spare
        ).item() == pytest.approx(loss)
    assert voxelwise_loss(extra, lr, 4, "nearest") == 0.25, "with two phases: the plain loss"
    other = extra.clone()
    other[0, :, 0, 0, 4] = torch.tensor([1.0, 0.0])  # one missing
    assert voxelwise_loss(other, **given, false_positive_tolerance=0.1).item() == pytest.approx(
        0.15 + 0.125
    )


def test_pattern_loss_is_the_variance_of_what_repeats_and_nothing_for_what_does_not():
    rng = torch.Generator().manual_seed(0)
    lr = torch.zeros(1, 2, 8, 8, 8)
    lr[:, 0] = 1

    def loss(pores: torch.Tensor, lr: torch.Tensor = lr) -> float:
        return checkerboard_loss(torch.cat([pores, 1 - pores], 1), lr, 8).item()

    chance = [(torch.rand(1, 1, 48, 48, 48, generator=rng) < 0.3).float() for _ in range(20)]
    assert abs(np.mean([loss(pores) for pores in chance])) < 1e-4
    block = (torch.rand(1, 1, 8, 8, 8, generator=rng) < 0.3).float()
    variance = 2 * block.var(correction=0).item()  # of pores and of the rest
    assert loss(block.repeat(1, 1, 6, 6, 6)) == pytest.approx(variance, rel=1e-3)
    lr = lr.clone()
    lr[:, :, ::2, ::2, ::2] = torch.tensor([0.0, 1.0])[:, None, None, None]
    lr[:, :, 1::2, 1::2, 1::2] = torch.tensor([0.0, 1.0])[:, None, None, None]
    assert loss(block.repeat(1, 1, 6, 6, 6), lr) == 0, "no voxel has six neighbours like itself"
    with pytest.raises(ValueError, match="1.6 fine voxels an edge .* use checkerboard_weight=0"):
        checkerboard_loss(torch.rand(1, 2, 8, 8, 8), torch.rand(1, 2, 5, 5, 5), 1.6)
