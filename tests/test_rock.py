"""SY6: a rock whose coarse scan mixes up quartz and feldspar and misses fine pores."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from srlib import metrics, rock, train
from srlib.losses import voxelwise_loss


@pytest.fixture(scope="module")
def case():
    return rock.case("twin", 0, edge=24, images=6, image_edge=48)


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
    again = rock.case("twin", 0, edge=24, images=6, image_edge=48)
    other = rock.case("twin", 1, edge=24, images=6, image_edge=48)
    assert np.array_equal(case.truth, again.truth) and np.array_equal(case.hr[3], again.hr[3])
    assert not np.array_equal(case.truth, other.truth)
    assert case.truth.shape == (192,) * 3 and case.lr.shape == (24,) * 3
    assert {image.shape for image in case.hr} == {(384, 384)}


def test_sy6_minerals_as_x_rays_find_them(case):
    """X-ray diffraction: quartz 71.1, feldspar 15.1, clay 4.8 %: 0.78, 0.17, 0.05 of the three."""
    of = metrics.volume_fractions(np.stack(case.hr), 4)
    assert of[0] == pytest.approx(rock.POROSITY, abs=0.04)
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
    clear = block(rock.scan(case.truth, 0, mixed_up=0.0))
    both = grain & np.isin(clear, (1, 2))
    assert (clear != case.truth)[both].mean() < 0.03
    assert (coarse == 0)[case.truth == 0].mean() > 0.75, "pores are where they are"


def test_sy6_the_scan_misses_fine_pores(case, block):
    assert fine_pores(case.truth) > 20 * (fine_pores(block(case.lr)) + 1)
    deep = rock.parts(np.full((16, 16), -99.0, np.float32), 0)
    assert set(np.unique(deep)) <= {1, 2, 3, 5}, "deep in the grains there is no open pore"


def test_sy6_clay_has_pores_that_the_scan_takes_for_clay():
    distance = np.zeros((20, 20, 20), np.float32)  # all of it is a grain surface
    found = rock.parts(distance, 3)
    clay = np.isin(found, (3, 4))
    assert (found[clay] == 4).mean() == pytest.approx(rock.CLAY_PORES, abs=0.05)
    coarse = rock.scan(found, 3)
    whole = clay.reshape(20, 8, 20, 8, 20, 8).mean((1, 3, 5)) > 0.9
    assert (coarse[whole] == 3).mean() > 0.99


def test_sy6_slabs_fit_without_a_step():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 6, 6)).astype(np.float32)
    whole = rock.enlarged(values, slice(0, 40))
    halves = [rock.enlarged(values, slice(a, b)) for a, b in ((0, 16), (16, 32), (32, 40))]
    assert np.allclose(np.concatenate(halves), whole, atol=1e-5)


def test_distance_of_a_part_is_that_of_the_whole():
    rng = np.random.default_rng(1)
    pore = rng.random((60, 50, 50)) > 0.7
    whole = rock.distance(pore, (slice(0, 60), slice(0, 50), slice(0, 50)))
    part = rock.distance(pore, (slice(20, 30), slice(15, 25), slice(20, 30)))
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
        rock.case(**wrong)


def test_the_real_pore_space_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setattr(rock, "find_file", lambda name: None)
    with pytest.raises(ValueError, match="data/download.py rock"):
        rock.pore_space("real")
    assert rock.pore_space("auto")[1] == "twin"


def one_hot(labels: list, n: int = 4) -> torch.Tensor:
    labels = torch.tensor(labels).view(1, 1, -1)
    return torch.nn.functional.one_hot(labels, n).movedim(-1, 0)[None].float()


def test_rk05_what_is_mixed_up_counts_less():
    lr = one_hot([1, 2, 0, 3])
    fine = [one_hot(x).repeat_interleave(8, 2) for x in ([2, 2, 0, 3], [0, 2, 0, 3], [2, 1, 0, 0])]
    fine = [x.repeat_interleave(8, 3).repeat_interleave(8, 4) for x in fine]
    plain = [voxelwise_loss(x, lr, 8, "nearest").item() for x in fine]
    assert plain == pytest.approx([0.25, 0.25, 0.75])
    found = [voxelwise_loss(x, lr, 8, "nearest", mixed_up=(1, 2, 0.2)).item() for x in fine]
    assert found[0] == pytest.approx(0.2 * 0.25)
    assert found[2] == pytest.approx(0.2 * 0.5 + 0.25)
    assert found[1] == pytest.approx(0.25 * (0.5 + (0.5 + 0.2 * 0.5) / 2)), "half of it is sure"
    same = [voxelwise_loss(x, lr, 8, "nearest", mixed_up=(2, 1, 1.0)).item() for x in fine]
    assert same == pytest.approx(plain)


def test_rk05_mixed_up_phases_are_merged_where_the_scan_is_trusted(case):
    lr, phase_map = case.trusted(case.lr)
    assert set(np.unique(lr)) == {0, 1, 3}
    assert phase_map[2].tolist() == [0, 1, 0, 0]
    reference = metrics.reference_statistics(case.hr)
    sharp = train.quality(case.truth, case.lr, case, reference)["lost"]
    case.mixed_up = None
    plain = train.quality(case.truth, case.lr, case, reference)["lost"]
    case.mixed_up = (1, 2, 0.05)
    assert sharp < plain - 0.05, "the truth is not blamed for what the scan mixes up"


@pytest.mark.parametrize("wrong", [(1, 1, 0.5), (1, 4, 0.5), (1, 2, 1.5)])
def test_impossible_mix_ups_are_refused(case, wrong):
    from dataclasses import replace

    with pytest.raises(ValueError, match="mixed_up must be two of the 4"):
        replace(case, mixed_up=wrong)
