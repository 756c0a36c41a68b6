"""Flow through pores, pore widths, connectivity and elastic bounds, against closed forms."""

import numpy as np
import pytest

from srlib import metrics

SQUARE_DUCT = 0.0351442
"""Mean flow of a square duct of edge 1, from the series of sines."""
FLOW_MEASURES = (
    metrics.permeability,
    metrics.formation_factor,
    metrics.connected_share,
)


def smooth(n: int = 96) -> np.ndarray:
    """A random smooth field on ``n`` voxels an edge, longest along axis 2."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(0).standard_normal((n, n, n)), (5, 5, 7))


def sandstone(n: int) -> np.ndarray:
    """Pores (0) of one and the same medium, seen with ``n`` voxels an edge; 35 % pores."""
    fine = smooth()
    step = len(fine) // n
    seen = fine.reshape(n, step, n, step, n, step).mean((1, 3, 5))
    return (seen > np.quantile(fine, 0.35)).astype(np.uint8)


def ball(n: int, radius: float) -> np.ndarray:
    grid = np.indices((n, n, n)) + 0.5 - n / 2
    return (np.sum(grid**2, axis=0) <= radius**2).astype(np.uint8)


# Stokes flow


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize(("axis", "across"), [(0, 1), (1, 2), (2, 0), (0, 2)])
def test_a_flat_channel_of_any_width_carries_its_cube_over_twelve(axis, across, width) -> None:
    labels = np.ones((9, 10, 11), np.uint8)
    np.moveaxis(labels, across, 0)[1 : 1 + width] = 0
    got = metrics.permeability(labels, axis=axis, sides="mirror")
    assert got == pytest.approx(width**3 / 12 / labels.shape[across], rel=1e-3)


def test_a_slit_against_a_mirror_is_half_a_channel_of_twice_its_width() -> None:
    labels = np.ones((5, 8, 9), np.uint8)
    labels[:, :3] = 0
    expected = (6**3 / 12) / 2 / 8
    assert metrics.permeability(labels, sides="mirror") == pytest.approx(expected, rel=1e-6)
    walled = metrics.permeability(np.zeros((5, 3, 40), np.uint8))
    assert 0.9 * 3**2 / 12 < walled < 3**2 / 12


@pytest.mark.parametrize(("edge", "error"), [(4, 0.065), (8, 0.018), (16, 0.005)])
def test_a_square_duct_between_walls_approaches_its_series(edge, error) -> None:
    duct = np.zeros((6, edge, edge), np.uint8)
    got = metrics.permeability(duct) / edge**2
    assert got == pytest.approx(SQUARE_DUCT, rel=error)
    solid = np.pad(duct, ((0, 0), (2, 1), (3, 0)), constant_values=1)
    share = duct.size / solid.size
    assert metrics.permeability(solid) == pytest.approx(got * edge**2 * share, rel=1e-3)


@pytest.mark.parametrize(
    ("share", "drag", "error"), [(0.125, 4.292, 0.02), (0.343, 15.4, 0.04), (0.5236, 42.1, 0.05)]
)
def test_a_cubic_array_of_spheres_has_the_known_drag(share, drag, error) -> None:
    """Sangani and Acrivos (1982), Zick and Homsy (1982): k = n^3 / (6 pi radius drag)."""
    ratios = []
    for n in (16, 32):
        radius = n * (3 * share / (4 * np.pi)) ** (1 / 3)
        got = metrics.permeability(ball(n, radius), sides="mirror")
        ratios.append(got * 6 * np.pi * radius * drag / n**3)
    assert ratios[1] == pytest.approx(1, abs=error)
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1)


def test_one_smooth_medium_is_as_permeable_whatever_the_voxel() -> None:
    got = [metrics.permeability(sandstone(n), voxel=96 / n, sides="mirror") for n in (16, 24, 48)]
    assert max(got) < 1.12 * min(got) and min(got) > 0


def test_a_wider_volume_in_series_and_in_parallel() -> None:
    """Two channels side by side add up; two in a row resist together."""
    one, two = np.ones((6, 4, 7), np.uint8), np.ones((6, 4, 7), np.uint8)
    one[:, 1:3, 2:5] = 0
    two[:, 1:2, 1:6] = 0
    k = [metrics.permeability(part) for part in (one, two)]
    assert k[0] != pytest.approx(k[1], rel=0.1)
    assert metrics.permeability(np.concatenate([one, two], 1)) == pytest.approx(
        np.mean(k), rel=1e-3
    )
    assert metrics.permeability(np.concatenate([one, one])) == pytest.approx(k[0], rel=1e-3)


def test_turning_a_volume_with_its_axis_changes_nothing_and_voxels_square() -> None:
    labels = sandstone(24)[:20, :22]
    k = metrics.permeability(labels, tolerance=1e-5)
    assert k > 0
    for axis in (1, 2):
        turned = metrics.permeability(np.moveaxis(labels, 0, axis), axis=axis, tolerance=1e-5)
        assert turned == pytest.approx(k, rel=1e-4)
    assert metrics.permeability(labels[::-1], tolerance=1e-5) == pytest.approx(k, rel=1e-4)
    assert metrics.permeability(labels, axis=2) != pytest.approx(k, rel=0.05)
    assert metrics.permeability(labels, voxel=3.0, tolerance=1e-5) == pytest.approx(9 * k)
    other = np.where(labels == 0, 2, 0)
    assert metrics.permeability(other, 2, tolerance=1e-5) == pytest.approx(k)


def test_dead_ends_that_meet_one_plate_carry_nothing() -> None:
    labels = np.ones((8, 9, 10), np.uint8)
    labels[:, 2:4, 2:5] = 0
    k = metrics.permeability(labels)
    labels[:5, 6:8, 6:9] = 0
    labels[6:, 6:8, 6:9] = 0
    assert metrics.permeability(labels) == pytest.approx(k, rel=1e-9)
    labels[:, 2:4, 2:5] = 1
    assert metrics.permeability(labels) == 0
    assert metrics.formation_factor(labels) == np.inf


def test_the_default_tolerance_leaves_less_than_a_thousandth() -> None:
    labels = sandstone(32)
    exact = metrics.permeability(labels, tolerance=1e-7)
    assert metrics.permeability(labels) == pytest.approx(exact, rel=1e-3)


def test_thousands_of_separate_tubes_flow_like_one() -> None:
    tubes = np.ones((4, 100, 100), np.uint8)
    tubes[:, ::2, ::2] = 0
    one = metrics.permeability(np.zeros((4, 1, 1), np.uint8))
    assert one == pytest.approx(1 / 24)
    assert metrics.permeability(tubes) == pytest.approx(one / 4)


def test_a_darcy_is_a_unit_of_area() -> None:
    slit = np.ones((3, 5, 4), np.uint8)
    slit[:, 2:4] = 0
    k = metrics.permeability(slit, voxel=3e-6, sides="mirror") / metrics.DARCY
    assert k == pytest.approx(2**3 / 12 / 5 * 9e-12 / 9.869233e-13, rel=1e-3)


# Current, connectivity, widths


def test_formation_factor_of_straight_channels_is_one_over_their_share() -> None:
    labels = np.ones((9, 12, 15), np.uint8)
    labels[2:4, 5:10] = 0
    assert metrics.formation_factor(labels, axis=2) == pytest.approx(9 * 12 / 10)
    assert metrics.formation_factor(labels, axis=1) == np.inf


def test_connected_share_counts_the_pieces_that_reach_both_faces() -> None:
    labels = np.ones((5, 6, 7), np.uint8)
    labels[:, 1, 1] = labels[:3, 3, 3] = labels[2, 5, 5] = 0
    assert metrics.connected_share(labels) == pytest.approx(5 / 9)
    assert metrics.connected_share(labels, axis=1) == 0


def test_pore_sizes_of_two_slits_share_the_volume() -> None:
    labels = np.ones((20, 30, 22), np.uint8)
    labels[:, 2:6] = labels[:, 10:20] = 0
    diameters, share = metrics.pore_sizes(labels, voxel=1.5)
    np.testing.assert_allclose(diameters, [6, 15])
    np.testing.assert_allclose(share, [4 / 14, 1])


def test_euler_number_counts_pieces_minus_loops_plus_cavities() -> None:
    labels = np.ones((8, 9, 10), np.uint8)
    labels[1:4, 1:4, 2] = 0
    assert metrics.euler_number(labels) * labels.size == pytest.approx(1)
    labels[2, 2, 2] = 1
    assert metrics.euler_number(labels) * labels.size == pytest.approx(0)
    labels[5:8, 5:8, 5:8] = 0
    labels[6, 6, 6] = 1
    assert metrics.euler_number(labels) * labels.size == pytest.approx(2)
    labels[4, 4, 3] = 0
    assert metrics.euler_number(labels) * labels.size == pytest.approx(3), "corners do not connect"
    assert metrics.euler_number(labels, voxel=0.5) * labels.size == pytest.approx(3 * 8)


# Elastic bounds


def test_hashin_shtrikman_of_two_phases_is_the_closed_form() -> None:
    f, k, g = (0.7, 0.3), (37.0, 25.0), (44.0, 9.0)

    def bound(i: int, j: int) -> tuple[float, float]:
        kk = k[i] + f[j] / (1 / (k[j] - k[i]) + 3 * f[i] / (3 * k[i] + 4 * g[i]))
        loss = 6 * f[i] * (k[i] + 2 * g[i]) / (5 * g[i] * (3 * k[i] + 4 * g[i]))
        return kk, g[i] + f[j] / (1 / (g[j] - g[i]) + loss)

    got = metrics.hashin_shtrikman(f, k, g)
    (k_high, g_high), (k_low, g_low) = bound(0, 1), bound(1, 0)
    assert got == {
        "bulk": (pytest.approx(k_low), pytest.approx(k_high)),
        "shear": (pytest.approx(g_low), pytest.approx(g_high)),
    }
    assert metrics.hashin_shtrikman(f[::-1], k[::-1], g[::-1])["bulk"] == pytest.approx(got["bulk"])


def test_hashin_shtrikman_with_pores_and_with_one_phase() -> None:
    quartz = metrics.hashin_shtrikman([1, 0], [37, 0], [44, 0])
    assert quartz == {"bulk": pytest.approx((37, 37)), "shear": pytest.approx((44, 44))}
    dry = metrics.hashin_shtrikman([0.8, 0.2], [37, 0], [44, 0])
    assert dry["bulk"] == (0, pytest.approx(4 * 44 * 37 * 0.8 / (4 * 44 + 3 * 37 * 0.2)))
    assert dry["shear"][0] == 0 < dry["shear"][1] < 0.8 * 44
    wet = metrics.hashin_shtrikman([0.5, 0.3, 0.2], [37, 25, 2.25], [44, 9, 0])
    reuss = 1 / (0.5 / 37 + 0.3 / 25 + 0.2 / 2.25)
    assert wet["bulk"][0] == pytest.approx(reuss) and wet["bulk"][1] < 0.5 * 37 + 0.3 * 25 + 0.45


# Bad input


@pytest.mark.parametrize("measure", FLOW_MEASURES)
def test_bad_labels_phase_and_axis_are_named(measure) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(ValueError, match="3D"):
        measure(labels[0])
    with pytest.raises(ValueError, match="phase 3 is not in the labels"):
        measure(labels, 3)
    with pytest.raises(ValueError, match="axis is 3"):
        measure(labels, 0, 3)


def test_other_bad_input_is_named() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    for measure in (metrics.pore_sizes, metrics.euler_number):
        with pytest.raises(ValueError, match="3D"):
            measure(labels[0])
        with pytest.raises(ValueError, match="phase 1 is not in"):
            measure(labels, 1)
        with pytest.raises(ValueError, match="voxel is 0"):
            measure(labels, voxel=0)
    with pytest.raises(ValueError, match="voxel is -1"):
        metrics.permeability(labels, voxel=-1)
    for wrong, word in (
        ({"voxel": 0}, "voxel"),
        ({"tolerance": 1}, "tolerance"),
        (
            {"sides": "slip"},
            "sides",
        ),
    ):
        with pytest.raises(ValueError, match=f"{word} is"):
            metrics.permeability(labels, **wrong)
    for wrong in ([0.5, 0.4], [1.5, -0.5], [1.0]):
        with pytest.raises(ValueError, match="should"):
            metrics.hashin_shtrikman(wrong, [1, 2], [1, 2])
