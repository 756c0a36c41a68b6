"""SY6: a rock whose coarse scan mixes up quartz and feldspar and misses fine pores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from srlib import metrics, training
from srlib.data import majority_filter
from srlib.losses import local_fraction_loss, voxelwise_loss
from srlib.synthetic import sandstone


@pytest.fixture(scope="module")
def case():
    return sandstone.case("twin", 0, edge=24, images=6, image_edge=48)


@pytest.fixture(scope="module")
def block() -> np.ndarray:
    """Coarse labels as large as fine ones."""

    def enlarge(lr: np.ndarray) -> np.ndarray:
        return np.kron(lr, np.ones((8, 8, 8), np.uint8))

    return enlarge


def fine_pores(labels: np.ndarray) -> int:
    """Pores smaller than a coarse voxel."""
    parts, _ = label(labels == 0)
    return int((np.bincount(parts.ravel())[1:] < 512).sum())


def test_sy6_is_a_function_of_its_seed(case):
    again = sandstone.case("twin", 0, edge=24, images=6, image_edge=48)
    other = sandstone.case("twin", 1, edge=24, images=6, image_edge=48)
    assert np.array_equal(case.truth, again.truth) and np.array_equal(case.hr[3], again.hr[3])
    assert not np.array_equal(case.truth, other.truth)
    assert case.truth.shape == (192,) * 3 and case.lr.shape == (24,) * 3
    assert {image.shape for image in case.hr} == {(384, 384)}


def test_sy6_minerals_as_x_rays_find_them(case):
    """X-ray diffraction: quartz 71.1, feldspar 15.1, clay 4.8 %: 0.78, 0.17, 0.05 of the three."""
    of = metrics.volume_fractions(np.stack(case.hr), 4)
    assert of[0] == pytest.approx(sandstone.POROSITY, abs=0.04)
    assert of[1:] / of[1:].sum() == pytest.approx([0.78, 0.17, 0.05], abs=0.04)


def test_sy6_images_and_volume_are_of_one_material(case):
    reference = metrics.reference_statistics(case.hr)
    found = metrics.compare(case.truth, reference)
    assert found["s2_mean"] < 0.02
    rough = {pair: abs(error) for pair, error in found["area_error"].items()}
    assert np.median(list(rough.values())) < 0.2


def test_sy6_the_scan_mixes_up_quartz_and_feldspar(case, block):
    coarse, grain = block(case.lr), np.isin(case.truth, (1, 2))
    both = grain & np.isin(coarse, (1, 2))
    assert 0.09 < (coarse != case.truth)[both].mean() < 0.16
    clear = block(sandstone.scan(case.truth, 0, mixed_up=0.0))
    both = grain & np.isin(clear, (1, 2))
    assert (clear != case.truth)[both].mean() < 0.03
    assert (coarse == 0)[case.truth == 0].mean() > 0.75, "pores are where they are"


def test_sy6_the_scan_misses_fine_pores(case, block):
    assert fine_pores(case.truth) > 20 * (fine_pores(block(case.lr)) + 1)
    deep = sandstone.parts(np.full((16, 16), -99.0, np.float32), 0)
    assert set(np.unique(deep)) <= {1, 2, 3, 5}, "deep in the grains there is no open pore"


def test_sy6_clay_has_pores_that_the_scan_takes_for_clay():
    distance = np.zeros((20, 20, 20), np.float32)  # all of it is a grain surface
    found = sandstone.parts(distance, 3)
    clay = np.isin(found, (3, 4))
    assert (found[clay] == 4).mean() == pytest.approx(sandstone.CLAY_PORES, abs=0.05)
    coarse = sandstone.scan(found, 3)
    whole = clay.reshape(20, 8, 20, 8, 20, 8).mean((1, 3, 5)) > 0.9
    assert (coarse[whole] == 3).mean() > 0.99


def test_sy6_slabs_fit_without_a_step():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 6, 6)).astype(np.float32)
    whole = sandstone.enlarged(values, slice(0, 40))
    halves = [sandstone.enlarged(values, slice(a, b)) for a, b in ((0, 16), (16, 32), (32, 40))]
    assert np.allclose(np.concatenate(halves), whole, atol=1e-5)


def test_the_rarest_slice_shows_all_classes():
    labels = np.zeros((5, 4, 4), np.uint8)
    labels[1, :, 1:] = [1, 2, 3]
    labels[3, 0] = [0, 1, 2, 3]
    labels[4, :2], labels[4, 2:] = 1, 2
    assert sandstone.rarest_slice(labels) == 1
    assert sandstone.rarest_slice(labels[2:]) == 1


def test_small_pores_lie_in_the_minerals_that_surround_them():
    labels = np.full((20, 20, 20), 1, np.uint8)
    labels[:9, :9, :9] = 0  # larger than a coarse voxel
    labels[15, 15, 15] = 0
    labels[15, 15, 16], labels[15, 15, 14] = 3, 2
    hosts = sandstone.small_pore_hosts(labels)
    assert hosts == pytest.approx({"quartz": 4 / 6, "feldspar": 1 / 6, "clay": 1 / 6})
    assert not any(sandstone.small_pore_hosts(labels[:12]).values())


def test_distance_of_a_part_is_that_of_the_whole():
    rng = np.random.default_rng(1)
    pore = rng.random((60, 50, 50)) > 0.7
    whole = sandstone.distance(pore, (slice(0, 60), slice(0, 50), slice(0, 50)))
    part = sandstone.distance(pore, (slice(20, 30), slice(15, 25), slice(20, 30)))
    assert np.allclose(part, whole[20:30, 15:25, 20:30], atol=1e-4)
    assert (np.sign(whole) == np.where(pore, 1, -1)).mean() > 0.7


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(source="paper"), "source must be one of"),
        (dict(source="twin", edge=300), "do not fit"),
        (dict(source="twin", image_edge=161), "do not fit"),
    ],
)
def test_impossible_rocks_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        sandstone.case(**wrong)


def test_the_real_pore_space_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setattr(sandstone, "find_file", lambda name: None)
    with pytest.raises(ValueError, match="data/download.py rock"):
        sandstone.pore_space("real")
    assert sandstone.pore_space("auto")[1] == "twin"


def blocks(labels: np.ndarray) -> torch.Tensor:
    """Labels as one-hot channels, ``(1, 4, D, H, W)``."""
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 4).movedim(-1, 0)[None]


def enlarged(labels: np.ndarray) -> torch.Tensor:
    sr = blocks(labels).repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    return sr.float()


def test_rk05_which_of_two_mixed_up_phases_a_voxel_has_is_no_error():
    coarse = np.array([[[1, 2, 0, 3]]], np.uint8).repeat(2, 0)
    lr = blocks(coarse).float()
    for fine, plain, found in (
        ([2, 2, 0, 3], 0.25, 0.0),
        ([2, 1, 0, 3], 0.5, 0.0),
        ([0, 2, 0, 3], 0.25, 0.25 * 0.75),  # pore for quartz: half of quartz is sure
        ([1, 2, 0, 0], 0.25, 0.25),
    ):
        sr = enlarged(np.array([[fine]], np.uint8).repeat(2, 0))
        assert voxelwise_loss(sr, lr, 8, "nearest").item() == pytest.approx(plain)
        value = voxelwise_loss(sr, lr, 8, "nearest", confused_phases=(1, 2)).item()
        assert value == pytest.approx(found), fine


def test_rk05_the_shares_of_mixed_up_phases_count():
    fine = np.ones((4, 4, 8), np.uint8)
    fine[..., 4:] = 2  # a half of quartz, a half of feldspar
    fine[0, 0, 0] = fine[0, 0, 7] = 0
    sr, coarse = enlarged(fine), fine.copy()
    half = (sr, blocks(coarse).float(), 8, (1, 2), 0.0, 4)
    assert local_fraction_loss(*half).item() == pytest.approx(0)
    for z in (0, 1):  # 8 of 63 voxels of either are taken for the other
        coarse[1:3, z, :2] = 2
        coarse[1:3, z, 6:] = 1
    seen = (sr, blocks(coarse).float(), 8, (1, 2), 8 / 63, 4)
    assert local_fraction_loss(*seen).item() == pytest.approx(0, abs=1e-12), "the mean is right"
    assert local_fraction_loss(*seen[:4], 0.0, 4).item() == pytest.approx((2 * 8 / 64) ** 2)
    wrong = enlarged(np.where(fine == 2, 1, fine))
    assert local_fraction_loss(wrong, *half[1:]).item() == pytest.approx((2 * 63 / 64) ** 2 / 2)
    assert local_fraction_loss(sr, *half[1:5], 99).item() == pytest.approx(0), (
        "a block is no larger"
    )


def test_rk05_mixed_up_phases_are_merged_where_the_scan_is_trusted(case):
    lr, phase_map = case.trusted(case.lr)
    assert set(np.unique(lr)) == {0, 1, 3}
    assert phase_map[2].tolist() == [0, 1, 0, 0]
    reference = metrics.reference_statistics(case.hr)
    sharp = training.quality(case.truth, case.lr, case, reference)["lost"]
    case.confused_phases = None
    plain = training.quality(case.truth, case.lr, case, reference)["lost"]
    case.confused_phases = (1, 2, 0.11)
    assert sharp < plain - 0.05, "the truth is not blamed for what the scan mixes up"


@pytest.mark.parametrize("wrong", [(1, 1, 0.1), (1, 4, 0.1), (1, 2, 0.5)])
def test_impossible_mix_ups_are_refused(case, wrong):
    with pytest.raises(ValueError, match="confused_phases must be two of the 4"):
        replace(case, confused_phases=wrong)


def test_most_mixed_takes_of_each_group_the_cube_of_most_entropy():
    from srlib.data import most_mixed, one_hot

    cubes = np.zeros((6, 4, 4, 4), np.uint8)
    cubes[1, :2], cubes[2, :1], cubes[4, 0, 0] = 1, 2, 3
    lr = one_hot(cubes, 4).movedim(0, 1)
    assert torch.equal(most_mixed(lr, 3), lr[[1, 4]])


def test_windows_of_the_recipe_are_more_mixed_than_those_of_chance(case):
    def mean_entropy(rich: int) -> float:
        recipe = training.Recipe(patch_candidates=rich, window=48, width=4, noise_channels=1)
        trainer = training.SuperResTrainer(case, recipe, 0, torch.device("cpu"))
        cubes = [trainer.inputs(torch.Generator().manual_seed(k))[0] for k in range(20)]
        return float(torch.special.entr(torch.cat(cubes).mean((2, 3, 4))).sum(1).mean())

    assert mean_entropy(4) > 1.05 * mean_entropy(1)


def test_rk16_without_a_critic_no_score_is_followed(case):
    recipe = training.Recipe(critic_steps=0, width=4, window=32, slices=2)
    trainer = training.SuperResTrainer(case, recipe, 0, torch.device("cpu"))
    before = [p.clone() for p in trainer.critics[0].parameters()]
    log = trainer.step()
    assert log["style"] == 0 and log["gap"] == 0
    after = list(trainer.critics[0].parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_laptop_profile_knows_what_the_scan_mixes_up(case):
    changes = training.laptop_changes(case)
    assert changes["local_fraction_weight"] == 1000 and changes["patch_candidates"] == 4
    assert training.Recipe(**changes).consistency_threshold == 0.02


def test_another_pore_space_can_be_given():
    flat = sandstone.pore_space("twin", 0)[0][::2]
    made = sandstone.case(flat, 0, edge=16, images=1, image_edge=16)
    assert made.truth.shape == (128,) * 3 and abs((made.lr == 0).mean() - flat.mean()) < 0.1


def test_rk12_a_vote_of_neighbours_corrects_what_noise_decided(case, block):
    def wrong(lr: np.ndarray) -> float:
        return metrics.confused_fraction(block(lr), case.truth, sandstone.PAIR)

    clean = case.cleaned()
    assert wrong(clean.lr) < 0.4 * wrong(case.lr)
    others = np.isin(case.lr, (0, 3))
    assert np.array_equal(clean.lr[others], case.lr[others])
    assert clean.confused_phases == (1, 2, 0.0) and case.confused_phases == (1, 2, 0.11)
    grain = np.isin(case.truth, (1, 2))
    of = (case.truth[grain] == 2).mean()
    assert (clean.lr[~others] == 2).mean() == pytest.approx(of, abs=0.03), "neither phase has more"
    assert replace(case, confused_phases=None).cleaned().lr is case.lr


def test_a_vote_without_noise_changes_little_and_of_nothing_nothing():
    halves = np.ones((12, 12, 12), np.uint8)
    halves[6:] = 2
    assert np.array_equal(majority_filter(halves, (1, 2), 0.0), halves)
    assert np.array_equal(majority_filter(halves, (0, 3), 0.1), halves)
    for impossible in (((1, 1), 0.1), ((1, 2), 0.5), ((1, 2), 0.1, 0.0)):
        with pytest.raises(ValueError, match="pair must be two phases, wrong a share"):
            majority_filter(halves, *impossible)


def test_the_recipe_makes_texture_of_noise_and_a_pattern_has_a_price(case):
    how = dict(width=4, window=48, slices=2, critic_steps=0, norm=True, fine_noise=True)

    def after_a_step(**more) -> torch.nn.Module:
        trainer = training.SuperResTrainer(
            case, training.Recipe(**how | more), 0, torch.device("cpu")
        )
        trainer.step()
        return trainer.generator

    assert after_a_step(texture=2).texture.out_channels == 2
    assert after_a_step(texture=2, noise_channels=0).texture is None, "without noise there is none"
    dear, free = (after_a_step(checkerboard_weight=price).head.weight for price in (100.0, 0.0))
    assert not torch.equal(dear, free)
