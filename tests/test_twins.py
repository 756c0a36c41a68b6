"""Twins SY3 and SY1: the statistics of the materials that they stand for (MATRIX 0.2)."""

from itertools import combinations

import numpy as np
import pytest

from srlib import metrics
from srlib.synthetic import microstructures

EDGE = 192


def mean_chords(labels: np.ndarray) -> list[float]:
    """Mean chord of each phase in voxels, from faces: no chord is cut short by the border."""
    areas = metrics.interphase_areas(labels, 3)
    fractions = metrics.volume_fractions(labels, 3)
    return [2 * fractions[p] / sum(v for k, v in areas.items() if p in k) for p in range(3)]


@pytest.fixture(scope="module")
def anode() -> np.ndarray:
    return microstructures.sofc(0, (EDGE,) * 3)


@pytest.fixture(scope="module")
def cathode() -> np.ndarray:
    return microstructures.cathode(0, (160,) * 3)


@pytest.fixture(params=["sofc", "cathode"])
def make(request):
    return getattr(microstructures, request.param)


def test_sy3_fractions(anode):
    assert metrics.volume_fractions(anode) == pytest.approx([0.36, 0.33, 0.31], abs=0.01)


def test_sy3_chords_of_10_to_11_voxels(anode):
    found = mean_chords(anode)
    assert np.mean(found) == pytest.approx(10, abs=0.3)
    assert found == pytest.approx([10.5, 10.5, 10.5], abs=1.0)


def test_sy3_triple_phase_boundary_of_64_cubes(anode):
    cubes = [metrics.tpb_density(cube) for cube in metrics.random_cubes(anode, 128, 64)]
    assert np.mean(cubes) == pytest.approx(0.01087, abs=0.00121)
    assert 0.0004 < np.std(cubes) < 0.0015


def test_sy3_areas_of_the_real_image(anode):
    areas = metrics.interphase_areas(anode)
    assert list(areas.values()) == pytest.approx([0.036, 0.030, 0.030], abs=0.004)


def test_sy3_all_phases_percolate_along_all_axes(anode):
    for phase in range(3):
        assert all(metrics.percolates(anode, phase, axis) for axis in range(3))


def test_sy1_fractions(cathode):
    pore, material, binder = metrics.volume_fractions(cathode)
    assert material == pytest.approx(0.42, abs=0.01)
    assert binder == pytest.approx(0.111, abs=0.005)
    assert pore == pytest.approx(0.47, abs=0.01)


def test_sy1_chords(cathode):
    _, material, binder = mean_chords(cathode)
    assert 16 <= material <= 20
    assert binder == pytest.approx(2.6, abs=0.5)


def test_sy1_binder_hardly_conducts(cathode):
    found = [metrics.transport_efficiency(cathode[:112, :112, :112], 2, axis) for axis in (0, 2)]
    assert np.mean(found) == pytest.approx(0.008, abs=0.002)


@pytest.mark.parametrize("name", ["anode", "cathode"])
def test_isotropic(name, request):
    volume = request.getfixturevalue(name)
    assert metrics.anisotropy(volume) < 0.015
    for phase in range(3):
        curves = [metrics.two_point(volume, phase, phase, axis, 8) for axis in range(3)]
        assert np.ptp(curves, axis=0).max() < 0.01


@pytest.mark.parametrize("name", ["anode", "cathode"])
def test_an_independent_image_has_the_statistics_of_the_volume(name, request):
    volume = request.getfixturevalue(name)
    make = microstructures.sofc if name == "anode" else microstructures.cathode
    image = make(77, (1024, 1024))
    assert metrics.volume_fractions(image) == pytest.approx(
        metrics.volume_fractions(volume), abs=0.012
    )
    areas = metrics.interphase_areas(volume)
    for pair, found in metrics.interphase_areas(image).items():
        assert found == pytest.approx(areas[pair], rel=0.06), pair
    assert metrics.tpb_density(image) == pytest.approx(metrics.tpb_density(volume), rel=0.06)
    for a, b in [(0, 0), (1, 1), (2, 2), *combinations(range(3), 2)]:
        curves = [metrics.two_point(x, a, b, 1, 40) for x in (image, volume)]
        assert np.abs(curves[0] - curves[1]).mean() < 0.006


def test_a_seed_decides_everything(make):
    first = make(5, (24, 20, 16))
    assert first.dtype == np.uint8 and set(np.unique(first)) == {0, 1, 2}
    assert np.array_equal(first, make(5, (24, 20, 16)))
    assert (first != make(6, (24, 20, 16))).mean() > 0.3


def test_twins_are_periodic(make):
    """Across the border as many faces are unlike as inside."""
    volume = make(3, (64, 64, 64))
    inside = np.mean([(volume[i] != volume[i + 1]).mean() for i in range(63)])
    spread = np.std([(volume[i] != volume[i + 1]).mean() for i in range(63)])
    assert abs((volume[-1] != volume[0]).mean() - inside) < 4 * spread


@pytest.mark.parametrize("shape", [(64,), (64, 4), (8, 8, 8, 8)])
def test_other_shapes_are_refused(make, shape):
    with pytest.raises(ValueError, match=r"image or \(D, H, W\) volume"):
        make(0, shape)


@pytest.fixture(scope="module")
def membrane() -> tuple[np.ndarray, np.ndarray]:
    shape = (256, 160, 160)
    return microstructures.separator(0, shape, fibrils=False), microstructures.separator(0, shape)


def mean_chord(solid: np.ndarray, axis: int) -> float:
    return float(2 * solid.mean() / np.mean(np.diff(solid.astype(np.int8), axis=axis) != 0))


def test_sy2_fractions_of_lamellae_and_fibrils(membrane):
    lamellae, solid = membrane
    assert lamellae.mean() == pytest.approx(0.379, abs=0.01)
    assert solid.mean() == pytest.approx(0.4546, abs=0.01)
    assert (solid >= lamellae).all()


def test_sy2_lamellae_lie_across_axis_2_and_fibrils_along_it(membrane):
    lamellae, solid = membrane
    assert mean_chord(lamellae, 2) == pytest.approx(13, abs=1)
    assert [mean_chord(lamellae, a) for a in (0, 1)] == pytest.approx([43, 43], abs=4)
    fibrils = solid & ~lamellae & 1
    across = [mean_chord(fibrils, a) for a in (0, 1)]
    assert max(across) < 3.5 and mean_chord(fibrils, 2) > 3 * max(across)


def test_sy2_the_parts_of_a_separator_add_up_to_it(membrane):
    lamellae, solid = membrane
    parts = microstructures.separator_parts(0, solid.shape)
    assert ((parts > 0) == solid).all() and ((parts == 1) == lamellae).all()
    assert (parts == 2).mean() == pytest.approx(0.075, abs=0.005)


def test_sy2_fibrils_are_the_thin_parts_of_a_separator(membrane):
    lamellae, solid = membrane
    fibrils, thin = solid > lamellae, metrics.thin_parts(solid, 1, (0, 1))
    assert thin.mean() == pytest.approx(fibrils.mean(), rel=0.05)
    assert (thin & fibrils).sum() > 0.95 * fibrils.sum(), "found"
    assert (thin & fibrils).sum() > 0.97 * thin.sum(), "and nothing else"


def test_sy4_fractions_particles_and_sponge():
    volume = microstructures.composite(0, (160, 192, 160))
    image = microstructures.composite(1, (628, 758), active=0.58)
    assert metrics.volume_fractions(volume)[1] == pytest.approx(0.4, abs=0.1), "few particles"
    assert metrics.volume_fractions(image) == pytest.approx([0.144, 0.583, 0.274], abs=0.06)
    pore = mean_chord(image == 0, 1)
    assert 2 < pore < 6, "mostly the sponge's"
    assert mean_chord(image == 1, 1) > 60


def test_scattered_balls_fill_their_share_of_the_pores_only():
    labels = np.ones((48, 40, 56), np.uint8)
    labels[:, 10:] = 0
    out = microstructures.scatter(labels, 2, 0.12, 6, seed=1)
    assert out.dtype == np.uint8 and (out == 2).mean() == pytest.approx(0.12, abs=1e-4)
    assert (out[labels == 1] == 1).all()
    assert np.array_equal(out, microstructures.scatter(labels, 2, 0.12, 6, seed=1))
    assert (out != microstructures.scatter(labels, 2, 0.12, 6, seed=2)).mean() > 0.1
    image = microstructures.scatter(np.zeros((64, 64), np.uint8), 1, 0.3, 8, seed=0)
    assert image.mean() == pytest.approx(0.3, abs=1e-3)
    for share in (0.0, 0.8):
        with pytest.raises(ValueError, match="between 0 and that of pore, 0.75"):
            microstructures.scatter(labels, 2, share, 6, seed=1)


def test_scattered_balls_are_as_wide_as_asked_and_do_not_percolate():
    """Mean chord of balls of diameter d that overlap little is 2 d / 3."""
    empty = np.zeros((96, 96, 96), np.uint8)
    few = microstructures.scatter(empty, 1, 0.02, 12, seed=0)
    assert mean_chord(few, 0) == pytest.approx(2 * 12 / 3, rel=0.15)
    third = microstructures.scatter(empty, 1, 0.18, 8, seed=0)
    assert not any(metrics.percolates(third, 1, axis) for axis in range(3)), "below 0.29"


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """A particle on the right and at the bottom, a wide pore above it, binder on the left."""
    labels = np.full((240, 320), 2, np.uint8)
    labels[:, 120:] = 1
    labels[:80, 120:200] = 0
    return labels


def column_and_row_spread(grey: np.ndarray) -> tuple[float, float]:
    return float(grey.mean(0).std()), float(grey.mean(1).std())


def test_sem_grey_values_and_noise(plain):
    grey = microstructures.sem(plain, 0, backs=0)
    assert grey.shape == plain.shape and grey.dtype == np.float32
    assert 0 <= grey.min() and grey.max() <= 1
    for phase, at in ((0, np.s_[5:75, 125:195]), (1, np.s_[5:75, 205:300]), (2, np.s_[:60, :110])):
        assert plain[at].min() == plain[at].max() == phase
        assert grey[at].mean() == pytest.approx((0.15, 0.75, 0.45)[phase], abs=0.005)
        assert grey[at].std() == pytest.approx(0.05, abs=0.004)
    assert np.array_equal(grey, microstructures.sem(plain, 0, backs=0))
    assert not np.array_equal(grey, microstructures.sem(plain, 1, backs=0))


def test_sem_curtains_are_vertical_and_in_the_lower_right(plain):
    grey, corner = microstructures.sem(plain, 0), np.s_[180:, 220:]
    down, across = column_and_row_spread(grey[corner])
    assert down > 4 * across, "the columns differ, the rows hardly"
    assert grey[corner].mean() < 0.7
    assert ((grey[corner] > 0.4) & (grey[corner] < 0.5)).mean() > 0.05, "as dark as binder"
    for image, at in (
        (grey, np.s_[:60, :110]),
        (microstructures.sem(plain, 0, curtains=0), corner),
    ):
        down, across = column_and_row_spread(image[at])
        assert down < 2 * across and down < 0.01


def test_sem_pore_backs_are_in_wide_pores_only(plain):
    thin = plain.copy()
    thin[:, 150:] = 1
    thin[::40, 150:] = 0
    for labels, backs, share in ((plain, 0.25, 0.25), (plain, 0.0, 0.0), (thin, 1.0, 1.0)):
        grey = microstructures.sem(labels, 3, backs=backs, noise=0)
        pore = np.s_[5:75, 125:145]
        assert (grey[pore] > 0.3).mean() == pytest.approx(share, abs=0.2)
    crack = np.s_[::40, 200:]
    assert np.array_equal(grey[crack], microstructures.sem(thin, 3, backs=0, noise=0)[crack])


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (np.zeros((8, 8, 8), np.uint8), {}, "pore, active material, binder"),
        (np.full((8, 8), 3, np.uint8), {}, "pore, active material, binder"),
        (np.zeros((8, 8), np.uint8), {"backs": 1.5}, "from 0 to 1"),
        (np.zeros((8, 8), np.uint8), {"noise": -1}, "noise 0 or more"),
    ],
)
def test_sem_refuses_what_it_cannot_show(labels, options, words):
    with pytest.raises(ValueError, match=words):
        microstructures.sem(labels, 0, **options)
