"""Rows ME-01 to ME-13: every measure against a closed form, a hand count or another library."""

import contextlib
import io
import tracemalloc
from itertools import product

import numpy as np
import pytest
import torch

from srlib import metrics
from srlib.losses import voxelwise_loss

SHAPE = (9, 12, 15)


def blobs(shape: tuple[int, ...] = (24, 28, 32), sigma: float = 2.0, seed: int = 0) -> np.ndarray:
    """Three phases, about 0.45, 0.35 and 0.20, stretched along the last axis."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    sigmas = [sigma] * (len(shape) - 1) + [1.5 * sigma]
    fields = [gaussian_filter(rng.standard_normal(shape), sigmas) for _ in range(3)]
    fields = [f / f.std() + bias for f, bias in zip(fields, (0.25, 0.0, -0.4), strict=True)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def noise(shape: tuple[int, ...] = SHAPE, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, shape, np.uint8)


# ME-01


def test_me01_volume_fractions_count_voxels() -> None:
    labels = np.zeros((2, 3, 5), np.int16)
    labels[1, 2, :4] = 1
    labels[0, 0, 0] = 3
    np.testing.assert_allclose(metrics.volume_fractions(labels), np.array([25, 4, 0, 1]) / 30)
    np.testing.assert_allclose(metrics.volume_fractions(labels[0, :1], 5), [0.8, 0, 0, 0.2, 0])


# ME-02


def test_me02_a_cube_has_six_square_faces() -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:5, 4:7, 6:9] = 1
    assert metrics.interphase_areas(labels) == {(0, 1): pytest.approx(6 * 9 / (3 * 10 * 10 * 9))}
    square = metrics.interphase_areas(labels[3])
    assert square == {(0, 1): pytest.approx(4 * 3 / (2 * 10 * 9))}


def test_me02_a_box_shows_each_axis_its_own_face() -> None:
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[2:4, 3:6, 1:6] = 2
    faces = [2 * 3 * 5, 2 * 2 * 5, 2 * 2 * 3]
    totals = [7 * 90, 8 * 80, 9 * 72]
    for axis, (count, total) in enumerate(zip(faces, totals, strict=True)):
        areas = metrics.interphase_areas(labels, axis=axis)
        assert areas == {(0, 1): 0, (0, 2): pytest.approx(count / total), (1, 2): 0}
    assert metrics.interphase_areas(labels)[0, 2] == pytest.approx(sum(faces) / sum(totals))


def test_me02_a_digital_sphere_shows_its_shadow_twice_along_each_axis() -> None:
    grid = np.indices((41, 41, 41)) - 20
    sphere = (np.sum(grid**2, axis=0) <= 15**2).astype(np.uint8)
    shadow = np.count_nonzero(sphere.any(0))
    area = metrics.interphase_areas(sphere)[0, 1] * 3 * 41 * 41 * 40
    assert area == pytest.approx(6 * shadow)
    assert area == pytest.approx(6 * np.pi * 15**2, rel=0.02)


def test_me02_checkerboard_has_every_face_and_stripes_have_one_axis() -> None:
    checker = np.indices((4, 5, 6)).sum(0) % 2
    assert metrics.interphase_areas(checker)[0, 1] == 1
    stripes = np.broadcast_to(np.arange(12) // 3 % 2, (4, 5, 12))
    assert metrics.interphase_areas(stripes, axis=2)[0, 1] == pytest.approx(3 / 11)
    assert metrics.interphase_areas(stripes, axis=0)[0, 1] == 0


def test_me02_agrees_with_taufactor() -> None:
    from taufactor.metrics import interfacial_areas

    labels = blobs()
    theirs = interfacial_areas(labels.astype(int), device="cpu", normalize=False, verbose=False)
    d, h, w = labels.shape
    total = (d - 1) * h * w + d * (h - 1) * w + d * h * (w - 1)
    ours = metrics.interphase_areas(labels)
    assert len(ours) == 3
    for pair, share in ours.items():
        assert share * total == pytest.approx(theirs[pair])


def test_me02_me05_the_slices_of_a_cube_hold_the_same_numbers_as_the_cube() -> None:
    cube = blobs((20, 20, 20))
    slices = [plane for axis in range(3) for plane in np.moveaxis(cube, axis, 0)]
    for pair, share in metrics.interphase_areas(cube).items():
        assert np.mean([metrics.interphase_areas(s, 3)[pair] for s in slices]) == pytest.approx(
            share
        )
    tpb = np.mean([metrics.tpb_density(s) for s in slices])
    assert tpb == pytest.approx(metrics.tpb_density(cube)) and tpb > 0


# ME-03, ME-04


def test_me03_straight_channels_conduct_their_volume_fraction() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 5:10] = 1
    labels[7, 1] = 1
    share = 11 / (9 * 12)
    assert metrics.transport_efficiency(labels, 1, axis=2) == pytest.approx(share, rel=1e-9)
    assert metrics.transport_efficiency(labels, 1, axis=0) == 0
    assert metrics.tortuosity_factor(labels, 1, axis=2) == pytest.approx(1, rel=1e-9)


def test_me03_slabs_conduct_in_parallel_and_block_in_series() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 4:7] = 1
    efficiency = [metrics.transport_efficiency(labels, 1, axis) for axis in range(3)]
    np.testing.assert_allclose(efficiency, [0.25, 0, 0.25], rtol=1e-9)
    assert metrics.transport_efficiency(labels, 0, axis=1) == 0


@pytest.mark.parametrize("axis", range(3))
def test_me03_a_winding_channel_is_a_chain_of_equal_resistors(axis: int) -> None:
    """A path of N voxels has N - 1 links and two half voxels: resistance N."""
    path = np.zeros((7, 6, 5), np.uint8)
    path[:3, 1, 2] = path[2, 1:5, 2] = path[2:5, 4, 2] = path[4, 4, 0:3] = path[4:, 4, 0] = 1
    length = np.count_nonzero(path)
    labels = np.moveaxis(path, 0, axis)
    efficiency = 7 / length / (6 * 5)
    assert metrics.transport_efficiency(labels, 1, axis) == pytest.approx(efficiency, rel=1e-6)
    expected = (length / path.size) / efficiency
    assert metrics.tortuosity_factor(labels, 1, axis) == pytest.approx(expected, rel=1e-6)


def test_me04_what_does_not_percolate_does_not_conduct() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:5, 3, 3] = 1
    labels[5:, 4, 3] = 1
    assert not metrics.percolates(labels, 1, axis=0)
    assert metrics.transport_efficiency(labels, 1, axis=0) == 0
    assert metrics.tortuosity_factor(labels, 1, axis=0) == np.inf
    labels[5, 3, 3] = 1
    assert metrics.percolates(labels, 1, axis=0)
    assert metrics.transport_efficiency(labels, 1, axis=0) > 0


def test_me03_dead_ends_and_islands_change_nothing() -> None:
    labels = np.zeros((10, 8, 6), np.uint8)
    labels[:, 2, 2] = 1
    bare = metrics.transport_efficiency(labels, 1)
    labels[4, 2, 2:5] = 1
    labels[6, 5:7, 1:3] = 1
    assert metrics.transport_efficiency(labels, 1) == pytest.approx(bare, rel=1e-6)


def taufactor_efficiency(mask: np.ndarray) -> float:
    import taufactor

    solver = taufactor.Solver(mask.astype(np.uint8), device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        solver.solve(verbose=False, conv_crit=1e-3)
    return float(solver.D_rel[0])


@pytest.mark.parametrize("phase, axis", [(0, 0), (0, 2), (1, 1), (1, 2)])
def test_me03_agrees_with_taufactor(phase: int, axis: int) -> None:
    labels = blobs()
    theirs = taufactor_efficiency(np.moveaxis(labels == phase, axis, 0))
    assert theirs > 0.01
    assert metrics.transport_efficiency(labels, phase, axis) == pytest.approx(theirs, rel=5e-3)


def test_me03_the_stopping_rule_is_much_finer_than_one_per_cent() -> None:
    labels = blobs((64, 40, 40), sigma=1.0)
    for phase in range(3):
        exact = metrics.transport_efficiency(labels, phase, tolerance=1e-12)
        assert metrics.transport_efficiency(labels, phase) == pytest.approx(exact, rel=1e-3)


# ME-05


def test_me05_hand_counted_edges() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1:] = 1
    labels[:, :, 2] = 2
    # One line of triple edges, where the plane z = 1 meets the plane x = 2: along y, 3 voxels long.
    assert metrics.tpb_density(labels) == pytest.approx(3 / (3 * 2 * 2 * 3))
    labels[0, 0, 0] = 2
    # The new corner adds the edges along z and y at that voxel's two free sides: those whose four
    # voxels now hold 0, 1 and 2. Around (z=1, x=1): voxels 2, 0, 1, 1 for y = 0: one edge. Around
    # (z=1, y=1): voxels 2, 0, 1, 1 for x = 0: one edge. Around (y=1, x=1): 2, 0, 0, 0: none.
    # The old edge at y = 0, (z=1, x=2), keeps its voxels 0, 2, 1, 2.
    assert metrics.tpb_density(labels) == pytest.approx(5 / 36)


def test_me05_two_phases_have_none_and_four_phases_count_once() -> None:
    assert metrics.tpb_density(noise(n=2)) == 0
    assert metrics.tpb_density(np.array([[0, 1], [2, 3]])) == 1
    assert metrics.tpb_density(np.array([[0, 1, 1], [2, 2, 1]])) == 0.5


def test_me05_agrees_with_taufactor() -> None:
    from taufactor.metrics import triple_phase_boundary

    labels = blobs()
    for array in (labels, labels[3]):
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = float(triple_phase_boundary(array.astype(int)))
        assert metrics.tpb_density(array) == pytest.approx(theirs)


def test_me02_me05_large_volumes_are_counted_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    from srlib.metrics import morphology

    labels = blobs((17, 9, 8))
    whole = metrics.interphase_areas(labels), metrics.tpb_density(labels)
    fractions = metrics.volume_fractions(labels)
    monkeypatch.setattr(morphology, "_CHUNK", 3 * 9 * 8)
    assert (metrics.interphase_areas(labels), metrics.tpb_density(labels)) == whole
    np.testing.assert_array_equal(metrics.volume_fractions(labels), fractions)


# ME-06, ME-07


@pytest.mark.parametrize("labels", [noise(), noise((7, 11))], ids=["3D", "2D"])
def test_me06_me07_equals_a_plain_loop_over_all_pairs(labels: np.ndarray) -> None:
    for axis, a, b in product(range(labels.ndim), range(3), range(3)):
        rows = np.moveaxis(labels, axis, 0)
        brute = [np.mean((rows[: len(rows) - d] == a) & (rows[d:] == b)) for d in range(6)]
        got = metrics.two_point(labels, a, b, axis, max_lag=5)
        np.testing.assert_allclose(got, brute, rtol=1e-12)


def test_me06_starts_at_the_volume_fraction_and_ends_at_its_square() -> None:
    labels = noise((40, 50, 60), n=4)
    labels[labels == 3] = 0
    for phase, share in enumerate(metrics.volume_fractions(labels)):
        curve = metrics.two_point(labels, phase, phase, 1, max_lag=20)
        assert curve[0] == pytest.approx(share)
        np.testing.assert_allclose(curve[1:], share**2, atol=0.004)


def test_me06_does_not_wrap_around_and_goes_one_way() -> None:
    labels = np.array([[0, 0, 0, 1, 1]])
    np.testing.assert_allclose(metrics.two_point(labels, 0, 1, 1, 4), [0, 1 / 4, 2 / 3, 1, 1])
    np.testing.assert_allclose(metrics.two_point(labels, 1, 0, 1, 4), 0)


def test_me07_with_two_phases_one_curve_is_the_complement_of_the_other() -> None:
    labels = (blobs() == 1).astype(np.uint8)
    same, other = metrics.reach_probability(labels, 1, axis=2, max_lag=20)[::-1]
    assert same[0] == 1 and other[0] == 0
    np.testing.assert_allclose(other, 1 - same)
    starts = [np.mean(labels[..., : 32 - d] == 1) for d in range(21)]
    joint = metrics.two_point(labels, 1, 0, 2, 20)
    np.testing.assert_allclose(joint, starts - metrics.two_point(labels, 1, 1, 2, 20))
    np.testing.assert_allclose(other, joint / starts)


def test_me07_with_three_phases_the_chances_sum_to_one() -> None:
    reach = metrics.reach_probability(blobs(), 2, axis=0, max_lag=15)
    assert reach.shape == (3, 16)
    np.testing.assert_allclose(reach.sum(0), 1)
    np.testing.assert_allclose(reach[:, 0], [0, 0, 1])


# ME-08


def test_me08_stripes_have_chords_of_their_width() -> None:
    period = np.repeat([0, 1], [3, 5])
    labels = np.broadcast_to(np.tile(period, 4), (4, 6, 32))
    assert metrics.chord_lengths(labels, 0, 2)[3] == 1
    assert metrics.chord_lengths(labels, 1, 2)[5] == 1
    assert metrics.chord_lengths(labels, 1, 1)[6] == 1


def test_me08_counts_voxels_not_chords() -> None:
    line = np.array([[1, 0, 1, 1, 1, 0, 0, 1, 1]])
    expected = np.zeros(10)
    expected[[1, 2, 3]] = np.array([1, 2, 3]) / 6
    np.testing.assert_allclose(metrics.chord_lengths(line, 1, 1), expected)
    inside = metrics.chord_lengths(line, 1, 1, border="drop")
    assert inside[3] == 1 and inside.sum() == 1
    assert not metrics.chord_lengths(line, 2, 1).any()


def test_me08_mean_chord_counts_chords_not_voxels() -> None:
    line = np.array([[1, 0, 1, 1, 1, 0, 0, 1, 1]])
    assert metrics.mean_chord(line, 1, 1) == pytest.approx(2)
    assert metrics.mean_chord(line, 1, 1, border="drop") == pytest.approx(3)
    assert metrics.mean_chord(line, 1, 0) == pytest.approx(1)
    assert metrics.mean_chord(line, 2, 1) == 0


def test_me08_agrees_with_porespy() -> None:
    import porespy

    labels = blobs()
    chords = porespy.filters.apply_chords(labels == 0, axis=1, spacing=1, trim_edges=False)
    counts = np.bincount(porespy.metrics.chord_counts(chords), minlength=29)
    voxels = counts * np.arange(29)
    np.testing.assert_allclose(
        metrics.chord_lengths(labels[::2, :, ::2], 0, 1), voxels / voxels.sum()
    )


# ME-09


def test_me09_a_sinusoid_peaks_at_its_frequency() -> None:
    rows, columns = np.indices((64, 96))
    wave = np.sin(2 * np.pi * (5 * rows / 64 + 12 * columns / 96))
    log_map, profile = metrics.radial_spectrum(wave)
    peaks = np.argwhere(log_map > 0.9 * log_map.max()).tolist()
    assert peaks == [[32 - 5, 48 - 12], [32 + 5, 48 + 12]]
    assert len(profile) == 33 and profile.argmax() == round(np.hypot(5, 12 * 64 / 96))


def test_me09_a_finer_wave_moves_the_peak_outwards_and_phases_are_averaged() -> None:
    columns = np.indices((64, 64))[1]
    coarse, fine = (((columns // width) % 2).astype(np.uint8) for width in (8, 2))
    assert metrics.radial_spectrum(coarse)[1][1:].argmax() + 1 == 4
    assert metrics.radial_spectrum(fine)[1][1:].argmax() + 1 == 16
    labels = blobs((32, 32))
    magnitudes = [np.expm1(metrics.radial_spectrum((labels == p) * 1.0)[0]) for p in (1, 2)]
    log_map, _ = metrics.radial_spectrum(labels, phases=(1, 2))
    np.testing.assert_allclose(log_map, np.log1p(np.mean(magnitudes, axis=0)))
    stack = np.stack([labels == 1, labels == 2]) * 1.0
    np.testing.assert_allclose(metrics.radial_spectrum(stack)[0], log_map)


# ME-10


def test_me10_cubes_are_seeded_and_reach_every_corner() -> None:
    labels = np.arange(6 * 5 * 7).reshape(6, 5, 7) % 7
    cubes = [c.copy() for c in metrics.random_cubes(labels, n=200, edge=4, seed=3)]
    again = list(metrics.random_cubes(labels, n=200, edge=4, seed=3))
    assert all(np.array_equal(c, d) for c, d in zip(cubes, again, strict=True))
    assert {c.shape for c in cubes} == {(4, 4, 4)}
    places = {
        labels[z : z + 4, y : y + 4, x : x + 4].tobytes()
        for z, y, x in product(range(3), range(2), range(4))
    }
    assert {c.astype(labels.dtype).tobytes() for c in cubes} == places
    other = metrics.random_cubes(labels, n=200, edge=4, seed=4)
    assert not all(np.array_equal(c, d) for c, d in zip(cubes, other, strict=True))


def test_me10_statistics_are_those_of_each_cube_for_any_number_of_workers() -> None:
    labels = blobs()
    one = metrics.cube_statistics(labels, 5, 16, seed=2, transport_axes=(2, 0), workers=1)
    two = metrics.cube_statistics(labels, 5, 16, seed=2, transport_axes=(2, 0), workers=2)
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert one["transport"].shape == (5, 2, 3)
    for i, cube in enumerate(metrics.random_cubes(labels, 5, 16, seed=2)):
        np.testing.assert_array_equal(one["volume_fractions"][i], metrics.volume_fractions(cube, 3))
        areas = metrics.interphase_areas(cube, 3)
        assert [areas[a, b] for a, b in one["pairs"].tolist()] == one["interphase_areas"][
            i
        ].tolist()
        assert one["tpb"][i] == metrics.tpb_density(cube)
        assert one["transport"][i, 0, 1] == metrics.transport_efficiency(cube, 1, axis=2)
        assert one["transport"][i, 1, 0] == metrics.transport_efficiency(cube, 0, axis=0)


def test_me10_a_phase_missing_from_a_cube_counts_as_zero() -> None:
    labels = noise((8, 8, 16), 2)
    labels[..., 15] = 2
    found = metrics.cube_statistics(labels, 12, 8, transport_axes=(0,))
    assert found["interphase_areas"].shape == (12, 3)
    assert 0 in found["volume_fractions"][:, 2] and 1 / 8 in found["volume_fractions"][:, 2]


def test_me10_a_flat_image_gives_squares() -> None:
    squares = metrics.cube_statistics(blobs((40, 50)), 6, 16, transport_axes=())
    assert squares["tpb"].shape == (6,) and squares["transport"].shape == (6, 0, 3)


# ME-11, and the checks of a super-resolved volume


@pytest.mark.parametrize("n", [2, 3])
def test_me11_the_voxel_loss_is_the_share_of_coarse_voxels_not_reproduced(n: int) -> None:
    lr = noise((5, 4, 6), n)
    sr = np.kron(lr, np.ones((4, 4, 4), np.uint8))
    sr[::4, ::4, ::4][:2, 1, 1:4] = (lr[:2, 1, 1:4] + 1) % n
    share = 1 - 6 / lr.size
    assert metrics.consistency(sr, lr, 4, "nearest") == pytest.approx(share)
    fine, coarse = (
        torch.eye(n)[torch.from_numpy(x).long()].permute(3, 0, 1, 2)[None] for x in (sr, lr)
    )
    loss = float(voxelwise_loss(fine, coarse, 4, mode="nearest"))
    assert loss == pytest.approx(1 - share, rel=1e-5)


def test_consistency_blurs_and_merges_phases() -> None:
    lr = (blobs((6, 6, 6), sigma=1.0) > 0).astype(np.uint8)
    sr = np.kron(lr, np.ones((4, 4, 4), np.uint8))
    sr[sr == 0] = np.where(noise(sr.shape, 2) == 1, 2, 0)[sr == 0]
    merge = np.array([[1, 0], [0, 1], [1, 0]])
    assert metrics.consistency(sr, lr, 4, "blur", merge) == 1
    sr[4:8, 8:12, :4] = 1 - lr[1, 2, 0]
    assert metrics.consistency(sr, lr, 4, "blur", merge) == 1 - 1 / lr.size


def test_grid_imprint_finds_blocks_and_leaves_free_volumes_alone() -> None:
    free = noise((64, 64, 64))
    assert metrics.grid_imprint(free, 4) < 0.02
    blocky = np.kron(noise((8, 8, 8)), np.ones((4, 4, 4), np.uint8))
    assert metrics.grid_imprint(blocky, 4) == pytest.approx(3)
    for axis in range(3):
        one_axis = np.repeat(np.moveaxis(noise((15, 60, 60)), 0, axis), 4, axis)
        assert metrics.grid_imprint(one_axis, 4) == pytest.approx(3)
    assert metrics.grid_imprint(np.zeros((8, 8), int), 4) == 0


def test_anisotropy_is_the_worst_axis_against_the_mean() -> None:
    layers = np.broadcast_to(np.arange(10) % 2, (6, 8, 10))
    assert metrics.anisotropy(layers) == pytest.approx(2)
    assert metrics.anisotropy(np.moveaxis(layers, 2, 0)[:, :, 0]) == pytest.approx(1)
    assert metrics.anisotropy(noise((50, 50, 50))) < 0.02
    stretched = blobs((48, 48, 48))
    density = [sum(metrics.interphase_areas(stretched, axis=i).values()) for i in range(3)]
    worst = np.abs(np.array(density) / np.mean(density) - 1).max()
    assert metrics.anisotropy(stretched) == pytest.approx(worst) and worst > 0.1


# ME-13, compare


def test_me13_a_volume_agrees_with_itself_and_with_all_its_slices() -> None:
    cube = blobs((20, 20, 20))
    same = metrics.compare(cube, cube, max_lag=10)
    assert not np.any(same["vf_error"]) and not any(same["area_error"].values())
    assert same["s2_max"] == same["tpb_error"] == same["mean_error"] == 0
    slices = [plane for axis in range(3) for plane in np.moveaxis(cube, axis, 0)]
    flat = metrics.compare(cube, slices, max_lag=10)
    np.testing.assert_allclose(
        [flat["s2_max"], flat["tpb_error"], flat["mean_error"]], 0, atol=1e-12
    )


def test_me13_images_of_unequal_size_are_pooled_pixel_by_pixel() -> None:
    small, large = np.array([[0, 1], [2, 1]]), np.zeros((3, 4), int)
    pooled = metrics.reference_statistics([small, large], max_lag=1)
    np.testing.assert_allclose(pooled["volume_fractions"], np.array([13, 2, 1]) / 16)
    assert pooled["interphase_areas"] == {
        (0, 1): pytest.approx(1 / 21),
        (0, 2): pytest.approx(1 / 21),
        (1, 2): pytest.approx(1 / 21),
    }
    assert pooled["tpb"] == pytest.approx(1 / 7)
    assert pooled["two_point"][0, 0][1] == pytest.approx(17 / 21)


def test_me13_errors_are_relative_and_signed() -> None:
    reference = np.zeros((4, 10), int)
    reference[:, 6:] = 1
    sr = np.zeros((4, 4, 10), int)
    sr[..., 5:] = 1
    sr[0, 0, 0] = 2
    found = metrics.compare(sr, [reference], max_lag=3)
    np.testing.assert_allclose(found["vf_error"], [(79 / 160) / 0.6 - 1, 0.5 / 0.4 - 1, np.nan])
    faces_3d, faces_2d = 16 / (3 * 4 * 10 * 2 + 16 * 9), 4 / (3 * 10 + 4 * 9)
    assert found["area_error"][0, 1] == pytest.approx(faces_3d / faces_2d - 1)
    errors = np.abs([*found["vf_error"][:2], found["area_error"][0, 1]])
    assert found["mean_error"] == pytest.approx(errors.mean())
    assert found["tpb"] == metrics.tpb_density(sr) and np.isnan(found["tpb_error"])


def test_me13_two_point_gap_averages_pairs_lags_and_axes() -> None:
    sr, image = noise((8, 9, 10), 2, seed=1), noise((9, 11), 2, seed=2)

    def curve(labels: np.ndarray, a: int, b: int) -> np.ndarray:
        total, steps = 0, 0
        for axis, size in enumerate(labels.shape):
            pairs = labels.size // size * (size - np.arange(5))
            for first, second in ((a, b), (b, a)):
                total = total + metrics.two_point(labels, first, second, axis, 4) * pairs
                steps = steps + pairs
        return total / steps

    gaps = [np.abs(curve(sr, *p) - curve(image, *p)) for p in ((0, 0), (0, 1), (1, 1))]
    statistics = metrics.reference_statistics([image], max_lag=4)
    for reference in ([image], statistics):
        found = metrics.compare(sr, reference, max_lag=4)
        assert found["s2_mean"] == pytest.approx(np.mean(gaps))
        assert found["s2_max"] == pytest.approx(np.max(gaps))


# Robustness


def test_large_volumes_need_little_memory_beyond_their_own() -> None:
    labels = noise((256, 256, 256))
    for measure in (
        metrics.volume_fractions,
        metrics.interphase_areas,
        metrics.tpb_density,
        metrics.anisotropy,
        lambda x: metrics.grid_imprint(x, 4),
        lambda x: metrics.two_point(x, 0, 1, 2, 10),
        lambda x: metrics.chord_lengths(x, 0, 2),
    ):
        tracemalloc.start()
        measure(labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.2 * labels.nbytes


CUBE = noise((6, 6, 6))
BAD = {
    "1D labels": (lambda: metrics.volume_fractions(np.zeros(5, int)), "2D or 3D"),
    "4D labels": (lambda: metrics.tpb_density(np.zeros((2, 2, 2, 2), int)), "2D or 3D"),
    "float labels": (lambda: metrics.interphase_areas(np.zeros((3, 3))), "whole numbers"),
    "nan": (lambda: metrics.anisotropy(np.full((3, 3), np.nan)), "whole numbers"),
    "boolean": (lambda: metrics.two_point(CUBE > 1, 0, 1, 0, 2), "whole numbers"),
    "empty": (lambda: metrics.volume_fractions(np.zeros((0, 4), int)), "empty"),
    "grey levels": (lambda: metrics.volume_fractions(CUBE * 85), "renumber"),
    "negative": (lambda: metrics.tpb_density(np.full((3, 3), -1)), "renumber"),
    "few phases": (lambda: metrics.volume_fractions(CUBE, 2), "at least 3"),
    "many phases": (lambda: metrics.interphase_areas(CUBE, 9), "at most 8"),
    "no such axis": (lambda: metrics.interphase_areas(CUBE, axis=3), "0 to 2"),
    "negative axis": (lambda: metrics.two_point(CUBE, 0, 0, -1, 2), "0 to 2"),
    "no such phase": (lambda: metrics.chord_lengths(CUBE, -1, 0), "0 to 7"),
    "long lag": (lambda: metrics.two_point(CUBE, 0, 0, 0), "0 to 5"),
    "fractional lag": (lambda: metrics.two_point(CUBE, 0, 0, 0, 2.5), "whole number"),
    "absent phase": (lambda: metrics.reach_probability(CUBE, 3, 0, 2), "does not occur"),
    "border word": (lambda: metrics.chord_lengths(CUBE, 0, 0, border="clip"), '"keep" or "drop"'),
    "2D transport": (lambda: metrics.transport_efficiency(CUBE[0], 0), "3D"),
    "thin transport": (lambda: metrics.transport_efficiency(CUBE[:1], 0), "two or more"),
    "3D spectrum": (lambda: metrics.radial_spectrum(CUBE), "2D"),
    "grey phases": (lambda: metrics.radial_spectrum(np.ones((4, 4)), [0]), "takes no phases"),
    "large cube": (lambda: metrics.random_cubes(CUBE, edge=7), "shortest side"),
    "no cube": (lambda: metrics.random_cubes(CUBE, n=0, edge=3), "at least one"),
    "2D cubes": (lambda: metrics.cube_statistics(CUBE[0], 2, 3), "transport_axes"),
    "imprint factor": (lambda: metrics.grid_imprint(CUBE, 6), "shortest side"),
    "imprint fraction": (lambda: metrics.grid_imprint(CUBE, 2.5), "whole number"),
    "flat anisotropy": (lambda: metrics.anisotropy(CUBE[:1]), "two voxels"),
    "sizes": (lambda: metrics.consistency(CUBE, CUBE, 2, "nearest"), "crop"),
    "phase map": (
        lambda: metrics.consistency(CUBE, CUBE[::2, ::2, ::2], 2, "nearest", np.eye(2)),
        "phase_map",
    ),
    "no reference": (lambda: metrics.compare(CUBE, []), "empty list"),
    "bad sr": (lambda: metrics.compare(CUBE * 1.0, CUBE), "whole numbers"),
}


@pytest.mark.parametrize("call, words", BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_plain_sentence(call, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert words in message and message.endswith(".") and "\n" not in message


def test_images_of_an_anisotropic_material_count_alike_for_every_axis():
    lines, blank = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    lines[::2] = 1
    once = metrics.reference_statistics([lines, blank, blank], 2, normals=[0, 1, 2])
    many = metrics.reference_statistics([lines] * 5 + [blank] * 2, 2, normals=[0] * 5 + [1, 2])
    assert once["volume_fractions"] == pytest.approx([5 / 6, 1 / 6])
    for key in ("volume_fractions", "tpb"):
        assert many[key] == pytest.approx(once[key])
    for key in ("interphase_areas", "two_point"):
        for pair in once[key]:
            assert many[key][pair] == pytest.approx(once[key][pair])


def test_consistency_of_one_side_asks_for_the_coarse_material_only():
    lr = np.array([[[0, 1]]], np.uint8)
    extra = np.ones((1, 1, 2), np.uint8)
    assert metrics.consistency(extra, lr, 1, "nearest") == 0.5
    assert metrics.consistency(extra, lr, 1, "nearest", one_sided=True) == 1
    assert metrics.consistency(1 - extra, lr, 1, "nearest", one_sided=True) == 0


def test_thin_parts_are_those_that_no_block_fits_into():
    labels = np.zeros((20, 24, 30), np.uint8)
    labels[:, :, 8:12] = 1  # a lamella across axis 2
    labels[4:6, 9:12, :] = 1  # a fibril of 2 x 3 voxels along axis 2
    labels[12:17, 15:20, 20:22] = 1  # as wide as the block
    fibril = np.zeros(labels.shape, bool)
    fibril[4:6, 9:12, :8] = fibril[4:6, 9:12, 12:] = True
    assert (metrics.thin_parts(labels, 1, (0, 1)) == fibril).all()
    assert not metrics.thin_parts(labels, 1, (1,), width=3).any(), "3 voxels wide along axis 1"
    assert (metrics.thin_parts(labels, 1, (0,), width=3) == fibril).all()
    block = np.zeros(labels.shape, bool)
    block[12:17, 15:20, 20:22] = True
    assert (metrics.thin_parts(labels, 1, (0, 1), width=7) == fibril | block).all()
    across = metrics.thin_parts(labels, 1, (2,))
    assert across[:, :9, 8:12].all() and not across[4:6, 9:12].any(), "a lamella is thin along 2"


def test_thin_parts_of_an_image_are_those_of_a_volume_of_it():
    image = noise((40, 50), 2, seed=3)
    volume = np.repeat(image[:, :, None], 7, axis=2)
    flat = metrics.thin_parts(image, 1, (0, 1), width=3)
    assert 0.1 < flat.mean() < image.mean()
    assert (metrics.thin_parts(volume, 1, (0, 1), width=3) == flat[:, :, None]).all()


def test_thin_parts_cut_by_the_border_go_on_beyond_it():
    labels = np.zeros((9, 9), np.uint8)
    labels[:3, :] = 1  # three visible of at least five
    labels[6, :] = 1
    assert metrics.thin_parts(labels, 1, (0,)).any(1).tolist() == [False] * 6 + [True] + [False] * 2


@pytest.mark.parametrize("given", [{"axes": ()}, {"axes": (2,)}, {"width": 4}, {"width": 1}])
def test_thin_parts_refuse_what_is_no_block(given):
    with pytest.raises(ValueError, match="axes is empty|axis is 2|width is"):
        metrics.thin_parts(np.ones((6, 6), np.uint8), **({"phase": 1, "axes": (0, 1)} | given))


def test_errors_percent_names_phases_and_pairs_with_their_signs():
    few, many = (np.zeros((4, 5, 10), np.uint8) for _ in range(2))
    few[:, :, 7:], many[:, :, 5:] = 1, 1
    many[:, :, 9] = 0
    how = dict(phases=["pore", "solid"], max_lag=3)
    named = metrics.errors_percent(many, few, **how)
    assert named == pytest.approx({"pore %": -100 / 7, "solid %": 100 / 3, "pore/solid %": 100})
    found = metrics.compare(many, few, 3)["s2_mean"]
    assert metrics.errors_percent(many, few, **how, two_point=True) == named | {"two-point": found}


def test_cube_means_are_named_by_phase_and_pair():
    found = {
        "volume_fractions": np.array([[0.2, 0.8], [0.4, 0.6]]),
        "interphase_areas": np.array([[0.1], [0.3]]),
        "transport": np.array([[[0.0, 0.5]], [[0.2, 0.7]]]),  # along one axis
    }
    wanted = {"pore": 0.3, "solid": 0.7, "pore/solid": 0.2}
    wanted |= {"transport, pore": 0.1, "transport, solid": 0.6}
    assert metrics.cube_means(found, ["pore", "solid"]) == pytest.approx(wanted)


def test_depth_scores_by_hand():
    truth = np.zeros((8, 8, 8), np.uint8)
    truth[:4] = 200
    lower = truth.copy()
    lower[4] = 200  # a plane more of solid: the surface is as large
    found = metrics.depth_scores(lower - 0.4, truth, 100)
    assert found["dB"] == pytest.approx(20 * np.log10(255 / 200 * 8**0.5))
    assert found["flipped %"] == pytest.approx(12.5)
    assert found["surface %"] == pytest.approx(0, abs=1e-6)
    lower[4, :, 4:] = 0
    assert metrics.depth_scores(lower, truth, 100)["surface %"] > 5


def test_cs14_descriptors_of_two_phases_are_complements_and_know_their_axis():
    labels = np.zeros((16, 12, 20), np.uint8)
    labels[:, :, ::4] = 1  # planes across axis 2
    along, across = (metrics.descriptors(labels, ["a", "b"], [axis], 8) for axis in (0, 2))
    assert along["same phase"]["b"] == pytest.approx(np.ones(9))
    assert across["same phase"]["b"] == pytest.approx([1, 0, 0, 0] * 2 + [1])
    assert across["another phase"]["b to a"] == pytest.approx(1 - across["same phase"]["b"])
    assert across["chord length"]["a"] == pytest.approx(np.eye(9)[3])
    assert along["chord length"]["a"] == pytest.approx(np.zeros(9)), "longer than 8"
    both = metrics.descriptors(labels, ["a", "b"], [0, 2], 8)
    assert both["same phase"]["b"] == pytest.approx((1 + across["same phase"]["b"]) / 2)


def runs(size: int, run: int) -> np.ndarray:
    """0 and 1 in turns, each for ``run`` voxels: a change every ``run``-th step."""
    return np.arange(size) // run % 2


def test_cs26_streaks_of_stripes_squares_and_rectangles():
    stripes = np.broadcast_to(runs(41, 2), (30, 41)).astype(np.uint8)
    assert metrics.curtaining_index(stripes, 1) == 1 == -metrics.curtaining_index(stripes.T, 1)
    assert metrics.curtaining_index(1 + stripes, 0) == 0, "a missing phase has no direction"
    squares = runs(41, 4)[:, None] ^ runs(41, 4)
    assert metrics.curtaining_index(squares, 1) == 0
    tall = runs(41, 4)[:, None] ^ runs(41, 2)  # u_v = 1/4, u_h = 1/2
    assert (
        metrics.curtaining_index(tall, 1)
        == metrics.curtaining_index(tall, 0)
        == pytest.approx(1 / 3)
    )
    lag2 = (1 - 19 / 39) / (1 + 19 / 39)  # two columns on, all differ
    assert metrics.curtaining_index(tall, 1, lag=2) == pytest.approx(lag2)
    with pytest.raises(ValueError, match="lag is 41"):
        metrics.curtaining_index(tall, 1, lag=41)


def test_cs26_streaks_of_a_volume_are_the_mean_over_its_slices():
    """Changes an axis: 1/8, 1/4, 1/2. Each slice has the earlier axis downwards."""
    volume = runs(41, 8)[:, None, None] ^ runs(41, 4)[:, None] ^ runs(41, 2)
    normal_z, normal_y, normal_x = 1 / 3, 3 / 5, 1 / 3
    found = metrics.curtaining_index(volume, 1)
    assert found == pytest.approx((normal_z + normal_y + normal_x) / 3)
    slices = [volume[0], volume[:, 0], volume[:, :, 0]]
    assert found == pytest.approx(np.mean([metrics.curtaining_index(s, 1) for s in slices]))


def test_cs26_streaks_stand_out_from_a_random_texture():
    image = np.random.default_rng(0).random((400, 500)) < 0.4
    assert abs(metrics.curtaining_index(image.astype(np.uint8), 1)) < 0.01
    image[:, ::20] = True  # u_v falls to 19/20, u_h keeps 2 x 1/20 of 0.6 and 18/20 of 0.48
    u_v, u_h = 0.95 * 0.48, 0.1 * 0.6 + 0.9 * 0.48
    expected = (u_h - u_v) / (u_h + u_v)
    assert metrics.curtaining_index(image.astype(np.uint8), 1) == pytest.approx(expected, abs=0.006)
