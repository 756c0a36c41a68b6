"""Inputs: SR-01, SR-02, SR-18 to SR-21, SR-25, SR-33, the data ledger (P1f, P1g)."""

import warnings

import numpy as np
import pytest
import tifffile
import torch

from srlib import data, datasets, metrics
from srlib.data import Case, encode_labels, one_hot, read_labels, sample_cubes, sample_squares
from srlib.data import io as data_io
from srlib.synthetic import microstructures


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels(shape, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, shape, dtype=np.uint8)


def case(**changes) -> Case:
    given = dict(
        name="mine",
        hr=[labels((40, 30))],
        lr=labels((9, 8, 7)),
        scale_factor=4,
        phases=["a", "b", "c"],
        lr_phases=["a", "b", "c"],
    )
    return Case(**{**given, **changes})


# Phases


@pytest.mark.parametrize("values", [[0, 128], [0, 85, 170], [0, 255], [-1, 4], [0.0, 1.0, 2.0]])
def test_sr02_any_label_set_becomes_0_1_2(values):
    truth = labels((3, 5, 4), len(values))
    found = encode_labels(np.array(values)[truth])
    assert found.dtype == np.uint8
    assert np.array_equal(found, truth)


def test_sr02_named_values_decide_the_order():
    image = np.array([[0, 170, 85], [85, 85, 0]], np.uint8)
    assert encode_labels(image, [85, 0, 170]).tolist() == [[1, 2, 0], [0, 0, 1]]
    assert encode_labels(image, [170, 0, 85]).tolist() == [[1, 0, 2], [2, 2, 1]]
    assert encode_labels(image == 85, [1, 0]).tolist() == [[1, 1, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match=r"value 170 \(1 of 6\) is none of"):
        encode_labels(image, [0, 85])


def test_sr02_one_hot_is_the_inverse_of_argmax():
    volume = labels((3, 4, 5), 4)
    channels = one_hot(volume, 4)
    assert channels.shape == (4, 3, 4, 5) and channels.dtype == torch.float32
    assert torch.equal(channels.sum(0), torch.ones(3, 4, 5))
    assert np.array_equal(channels.argmax(0).numpy(), volume)
    assert one_hot(labels((2, 6, 6)), 3).shape == (3, 2, 6, 6)


# Symmetries and windows


@pytest.mark.parametrize("shape", [(5, 5), (4, 7)])
def test_sr18_eight_distinct_symmetries(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = metrics.symmetries(image)
    assert len({(a.shape, a.tobytes()) for a in map(np.ascontiguousarray, found)}) == 8
    for turned in found:
        assert sorted(turned.ravel()) == list(range(image.size))
        again = {
            (a.shape, a.tobytes()) for a in map(np.ascontiguousarray, metrics.symmetries(turned))
        }
        assert (image.shape, image.tobytes()) in again


def test_sr18_only_a_case_without_directions_turns_its_images():
    assert len(case().images(0)) == 8
    turned = case(augment=(False, True, True))
    assert [len(turned.images(axis)) for axis in range(3)] == [1, 8, 8]


def test_sr19_each_axis_has_its_own_images():
    images = [labels((20, 20), seed=s) for s in range(4)]
    anisotropic = case(hr=images, normals=[2, 0, 1, 0], augment=(False, False, True))
    for axis, own in enumerate([[1, 3], [2], [0]]):
        found = anisotropic.images(axis)
        assert len(found) == (8 if axis == 2 else len(own))
        for k, turned in zip(own, found[:: 8 if axis == 2 else 1], strict=True):
            assert np.array_equal(turned, images[k])


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 4, 4), (4, 9, 4)])
def test_sr20_cubes_reach_every_position_alike(shape):
    volume = np.arange(np.prod(shape)).reshape(shape)
    positions = np.prod(np.array(shape) - 3)
    firsts = sample_cubes(volume, 4, 400 * positions, rng())[:, 0, 0, 0]
    found, counts = np.unique(firsts, return_counts=True)
    assert len(found) == positions
    assert found[-1] == volume[tuple(np.array(shape) - 4)]
    assert np.abs(counts - 400).max() < 5 * 20


def test_sr20_a_cube_is_the_part_of_the_volume_it_says():
    volume = np.arange(6 * 7 * 8).reshape(6, 7, 8)
    for cube in sample_cubes(volume, 3, 50, rng(1)):
        z, y, x = np.unravel_index(cube[0, 0, 0], volume.shape)
        assert np.array_equal(cube, volume[z : z + 3, y : y + 3, x : x + 3])


@pytest.mark.parametrize("shape", [(6, 9), (4, 4), (4, 5)])
def test_sr20_squares_reach_every_position_alike(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    positions = np.prod(np.array(shape) - 3)
    squares = sample_squares([image], 4, 400 * positions, rng())
    found, counts = np.unique(squares[:, 0, 0], return_counts=True)
    assert len(found) == positions
    assert np.abs(counts - 400).max() < 5 * 20
    assert squares[:, 3, 3].max() == image.max()


def test_sr21_a_collection_of_smaller_images_is_sampled_like_one():
    """Images of 10 x 10, 6 x 7 and one that is too small: 49 and 12 windows of edge 4."""
    images = [np.full((10, 10), 1, np.uint8), np.full((6, 7), 2, np.uint8), labels((3, 30), 1)]
    squares = sample_squares(images, 4, 6100, rng())
    counts = np.bincount(squares[:, 0, 0], minlength=3)
    assert counts[0] == 0
    assert counts[1:] == pytest.approx([4900, 1200], abs=150)


def test_sr20_windows_follow_the_generator_only():
    volume, image = labels((9, 9, 9)), labels((30, 20))
    assert np.array_equal(sample_cubes(volume, 4, 5, rng(3)), sample_cubes(volume, 4, 5, rng(3)))
    first, second = (sample_squares([image], 9, 8, rng(s)) for s in (3, 4))
    assert np.array_equal(first, sample_squares([image], 9, 8, rng(3)))
    assert not np.array_equal(first, second)


def test_sr20_a_window_larger_than_the_data_says_so():
    with pytest.raises(ValueError, match="window of 10 does not fit"):
        sample_cubes(labels((12, 9, 12)), 10, 1)
    with pytest.raises(ValueError, match="does not fit into any fine image"):
        sample_squares([labels((40, 30)), labels((9, 90))], 31, 1)


# Cases


@pytest.mark.parametrize(
    ("n", "m", "phase_map"),
    [(3, 2, [[1, 0], [0, 1], [1, 0]]), (2, 2, None), (3, 3, None)],
)
def test_sr33_three_relations_of_the_phases(n, m, phase_map):
    made = case(
        hr=[labels((40, 30), n)],
        lr=labels((9, 8, 7), m),
        phases=list("abc")[:n],
        lr_phases=list("abc")[:m],
        phase_map=phase_map,
    )
    assert made.phase_map.shape == (n, m)
    assert (made.phase_map.sum(1) == 1).all()


def test_sr25_two_files_and_a_scale_factor_are_a_case(tmp_path):
    hr, lr = labels((64, 50)), labels((12, 13, 14))
    tifffile.imwrite(tmp_path / "hr.tif", 85 * hr)
    np.save(tmp_path / "lr.npy", lr.astype(np.int8))
    made = case(hr=[read_labels(tmp_path / "hr.tif")], lr=read_labels(tmp_path / "lr.npy"))
    assert np.array_equal(made.hr[0], hr) and np.array_equal(made.lr, lr)


@pytest.mark.parametrize("kind", ["tif", "bigtiff", "stack of one", "int8", "float", "npy", "zarr"])
def test_sr02_files_of_every_kind_are_read(tmp_path, kind):
    image = labels((21, 34) if kind == "stack of one" else (5, 21, 34))
    path = tmp_path / f"a.{kind if kind in ('npy', 'zarr') else 'tif'}"
    if kind == "npy":
        np.save(path, image)
    elif kind == "zarr":
        import zarr

        zarr.create_array(path, shape=image.shape, chunks=(2, 8, 8), dtype="uint8")[:] = image
    else:
        values = {"int8": image.astype(np.int8), "float": image.astype(np.float32)}.get(kind, image)
        values = values[None] if kind == "stack of one" else values
        tifffile.imwrite(path, values, bigtiff=kind == "bigtiff")
    assert np.array_equal(read_labels(path), image)


@pytest.mark.parametrize(("name", "mode"), [("case1", "blur"), ("case3", "nearest")])
def test_twins_are_cases_with_a_truth(name, mode):
    twin = datasets.load(name, "twin", seed=2, edge=64)
    assert twin.source == "twin" and twin.mode == mode and twin.scale_factor == 4
    assert twin.truth.shape == (64, 64, 64) and twin.lr.shape == (16, 16, 16)
    assert twin.hr[0].shape == (256, 256)
    phase_map = twin.phase_map
    assert metrics.consistency(twin.truth, twin.lr, 4, mode, phase_map) > 0.995
    other = datasets.load(name, "twin", seed=3, edge=64)
    assert not np.array_equal(other.lr, twin.lr)
    assert np.array_equal(datasets.load(name, "twin", seed=2, edge=64).truth, twin.truth)


def test_auto_takes_the_twin_where_the_files_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    monkeypatch.setattr(data_io, "__file__", str(tmp_path / "srlib" / "data" / "io.py"))
    assert datasets.load("case3", edge=32).source == "twin"
    with pytest.raises(ValueError, match="download.py case3"):
        datasets.load("case3", "real")
    tifffile.imwrite(tmp_path / "SOFC_lr_input.tif", labels((6, 6, 6)).astype(np.int8))
    assert datasets.load("case3", edge=32).source == "twin"
    tifffile.imwrite(tmp_path / "SOFC_hr_input.tif", labels((1, 40, 40)).astype(np.int8))
    found = datasets.load("case3")
    assert found.source == "real" and found.truth is None


real = pytest.mark.skipif(
    None in map(data.find_file, ("SOFC_lr_input.tif", "large_slice_nmc.tif")),
    reason="the real files are not here: set SRLIB_DATA to their folder",
)


@pytest.mark.real
@real
def test_p1f_p1g_real_anode():
    anode = datasets.load("case3", "real")
    assert anode.lr.shape == (62, 62, 62) and anode.hr[0].shape == (1024, 1024)
    fractions = metrics.volume_fractions(anode.hr[0])
    assert fractions == pytest.approx([0.359, 0.333, 0.308], abs=6e-4)
    assert metrics.volume_fractions(anode.lr) == pytest.approx([0.3545, 0.3408, 0.3046], abs=6e-5)
    areas = list(metrics.interphase_areas(anode.hr[0]).values())
    assert areas == pytest.approx([0.036, 0.030, 0.030], abs=6e-4)


@pytest.mark.real
@real
def test_p1a_p1b_real_cathode():
    cathode = datasets.load("case1", "real")
    assert cathode.lr.shape == (128, 128, 128) and cathode.hr[0].shape == (1024, 1024)
    fractions = metrics.volume_fractions(cathode.hr[0])
    assert fractions == pytest.approx([0.488, 0.389, 0.124], abs=6e-4)
    assert metrics.volume_fractions(cathode.lr) == pytest.approx([0.5797, 0.4203], abs=6e-5)


def test_a_tiff_in_pieces_is_read_whole(tmp_path):
    volume = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5) % 3
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for plane in volume:
            writer.write(plane)
    for part in (volume[:4], volume[4:]):
        tifffile.imwrite(tmp_path / "pieces.tif", part, append=True, photometric="minisblack")
    for name in ("pages.tif", "pieces.tif"):
        assert (read_labels(tmp_path / name) == volume).all()


def test_images_of_which_one_lacks_a_phase_are_named():
    hr = [np.arange(900).reshape(30, 30).astype(np.uint8) % k for k in (3, 2)]
    given = dict(
        lr=labels_volume(), scale_factor=4, phases=["a", "b", "c"], lr_phases=["a", "b", "c"]
    )
    with pytest.warns(UserWarning, match="fine image 1 has no 'c'"):
        Case("mine", hr, **given)


def test_phases_with_other_names_in_the_coarse_volume_are_named():
    hr = [np.arange(900).reshape(30, 30).astype(np.uint8) % 3]
    names = dict(phases=["a", "b", "c"], lr_phases=["a", "b", "d"])
    with pytest.warns(UserWarning, match="are taken for phases"):
        Case("mine", hr, labels_volume(), 4, **names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Case("mine", hr, labels_volume(), 4, **names, phase_map=np.eye(3))


def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path):
    tifffile.imwrite(tmp_path / "mine.tif", np.array([[0, 7], [85, 85]], np.uint8))
    with pytest.raises(ValueError, match=r"mine.tif: value 7 \(1 of 4\) .* remove stray"):
        read_labels(tmp_path / "mine.tif", [0, 85])


def labels_volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (9, 9, 9), dtype=np.uint8)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SRLIB_DATA", "~/files")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x.tif").write_bytes(b"")
    assert data.find_file("x.tif") == tmp_path / "files" / "x.tif"


def test_cs09_the_twin_separator_sees_lamellae_only_and_has_six_faces():
    case = datasets.load("case2", "twin", edge=64)
    assert case.truth.shape == (128, 64, 64) and case.lr.shape == (32, 16, 16)
    assert case.normals == [0, 0, 1, 1, 2, 2] and case.one_sided
    assert [i.shape for i in case.hr] == [(64, 64)] * 2 + [(128, 64)] * 4
    assert (case.hr[3] == case.truth[:, -1]).all()
    lamellae = microstructures.separator(0, (128, 64, 64), fibrils=False)
    assert case.lr.mean() == pytest.approx(lamellae.mean(), abs=0.03)
    assert metrics.consistency(lamellae, case.lr, 4, "blur") > 0.999


def test_wanted_fractions_are_those_of_the_images_or_given():
    rods, specks = np.zeros((8, 8), np.uint8), np.zeros((4, 8), np.uint8)
    rods[:3], specks[:1] = 1, 1  # 3/8 and 1/4
    lr = np.indices((4, 4, 4)).sum(0).astype(np.uint8) % 2
    given = dict(lr=lr, scale_factor=4, phases=["pore", "solid"], lr_phases=["pore", "solid"])
    assert Case("mine", [rods, specks], **given).target_fractions() == pytest.approx(
        [11 / 16, 5 / 16]
    )
    anisotropic = Case("mine", [rods, rods, rods, specks], **given, normals=[0, 0, 1, 2])
    assert anisotropic.target_fractions()[1] == pytest.approx((3 / 8 + 3 / 8 + 1 / 4) / 3)
    assert Case("mine", [rods], **given, fractions=[0.9, 0.1]).target_fractions() == pytest.approx(
        [0.9, 0.1]
    )
    for wrong in ([1.0, 0.0], [0.5, 0.6], [0.2, 0.3, 0.5], [float("nan"), 0.5]):
        with pytest.raises(ValueError, match="2 shares above 0 with the sum 1"):
            Case("mine", [rods], **given, fractions=wrong)
    case = datasets.load("case4", "twin", edge=64)
    (pore, material, binder), image = case.target_fractions(), case.hr[0]
    assert material == pytest.approx(case.lr.mean()) and material < 0.8 * (image == 1).mean()
    assert pore / binder == pytest.approx((image == 0).sum() / (image == 2).sum())
    assert pore + material + binder == pytest.approx(1)


def test_sr31_spare_is_twice_the_material_that_the_fine_images_have_more():
    lr = np.zeros((8, 8, 8), np.uint8)
    lr[:2] = 1  # a quarter
    rods, specks = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    rods[:3], specks[:2] = 1, 1  # 3/8 and 1/4
    given = dict(lr=lr, scale_factor=4, phases=["pore", "solid"], lr_phases=["pore", "solid"])
    anisotropic = {"hr": [rods, rods, rods, specks], "normals": [0, 0, 1, 2]}
    case = Case("mine", **anisotropic, **given, one_sided=True)
    assert case.false_positive_tolerance == pytest.approx(2 * ((3 / 8 + 3 / 8 + 1 / 4) / 3 - 1 / 4))
    assert Case(
        "mine", [rods, specks], **given, one_sided=True
    ).false_positive_tolerance == pytest.approx(1 / 8)
    assert Case(
        "mine", [specks[:4]], **given, one_sided=True
    ).false_positive_tolerance == pytest.approx(1 / 2)
    assert (
        Case("mine", [specks.repeat(2, 0)[3:]], **given, one_sided=True).false_positive_tolerance
        == 0
    ), "not below"
    assert (
        Case(
            "mine", [rods], **given, one_sided=True, false_positive_tolerance=1.0
        ).false_positive_tolerance
        == 1
    )
    assert Case("mine", [rods], **given).false_positive_tolerance is None
    with pytest.raises(ValueError, match="share of the coarse voxels"):
        Case("mine", [rods], **given, one_sided=True, false_positive_tolerance=2.0)


def test_the_electrode_s_images_are_slices_of_its_truth():
    case = datasets.load("electrode", "twin", edge=96)
    assert case.truth.shape == (96, 96, 96) and case.lr.shape == (24, 24, 24)
    assert len(case.hr) == 9 and case.normals is None
    assert (case.hr[4] == case.truth[:, 48]).all()
    assert metrics.consistency(case.truth, case.lr, 4, "blur", case.phase_map) > 0.999


def test_cs23_case4_is_seen_at_scale_factor_8():
    case = datasets.load("case4", "twin", edge=128)
    assert case.lr.shape == (16, 16, 16) and case.hr[0].shape == (628, 758)
    assert case.voxel_nm == 50 and case.lr_phases == ["pore and binder", "active material"]
    assert metrics.consistency(case.truth, case.lr, 8, "blur", case.phase_map) > 0.999


@pytest.mark.real
@real
def test_p1c_p1d_p1e_real_separator():
    case = datasets.load("case2", "real")
    assert case.lr.shape == (156, 75, 75) and case.lr.mean() == pytest.approx(0.3792, abs=6e-5)
    assert [case.normals.count(axis) for axis in range(3)] == [32, 32, 6]
    assert np.mean(case.hr) == pytest.approx(0.4546, abs=6e-5)
    faces = [np.mean(np.diff(case.lr.astype(np.int8), axis=axis) != 0) for axis in range(3)]
    assert faces == pytest.approx([0.070, 0.072, 0.236], abs=6e-4)


@pytest.mark.real
@real
def test_p2_real_electrode():
    case = datasets.load("electrode", "real")
    assert case.truth.shape == (256, 256, 256) and case.lr.shape == (64, 64, 64)
    fractions = metrics.volume_fractions(case.truth)
    assert fractions == pytest.approx([0.4499, 0.4005, 0.1496], abs=6e-5)


@pytest.mark.real
@real
def test_p1h_p1i_real_cathode_of_two_microscopes():
    case = datasets.load("case4", "real")
    assert case.lr.shape == (128, 128, 128) and case.lr.mean() == pytest.approx(0.398, abs=6e-4)
    assert case.hr[0].shape == (628, 758)
    fractions = metrics.volume_fractions(case.hr[0])
    assert fractions == pytest.approx([0.144, 0.583, 0.274], abs=6e-4)


def test_cubes_of_the_authors_hold_fractions_areas_and_tortuosity(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    assert datasets.published_cubes("a_volume") is None
    row = [0.5, 0.3, 0.2, 0.01, 0.02, 0.03, 2.0, 3.0, 4.0]
    np.save(tmp_path / "a_volume.tiftau64-2.npy", np.array([row, row]))
    found = datasets.published_cubes("a_volume")
    assert found["interphase_areas"][1] == pytest.approx([0.01, 0.02, 0.03])
    assert found["transport"][0] == pytest.approx([0.25, 0.1, 0.05])
