"""The simulated tomography: projections, reconstruction, faults, the anode and its cells (SY5)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates

from srlib.physics import tomography
from srlib.synthetic import nanoct, silicon_anode

SMALL = (32, 96, 96)


def blob(n: int = 64, deep: int = 2) -> np.ndarray:
    """An asymmetric object inside of the circle that a beam sees."""
    z, y, x = np.mgrid[:deep, :n, :n].astype(np.float32)
    middle = (n - 1) / 2
    big = np.hypot(y - middle, x - middle) < 0.4 * n
    small = np.hypot(y - 0.35 * n, x - 0.6 * n) < 0.1 * n
    sharp = np.where(big, 0.5, 0) - np.where(small, 0.3, 0)
    return gaussian_filter(sharp, (0, 1.5, 1.5)).astype(np.float32)


def test_projections_agree_with_another_library():
    from skimage.transform import radon

    volume = blob(65)  # an odd edge: both turn about the same place
    ours = tomography.project(volume, 12, 65, depth=65)[0]
    theirs = radon(volume[0], np.linspace(0, 180, 12, endpoint=False), circle=True).T
    assert np.allclose(ours.sum(1), volume[0].sum(), rtol=0.01), "each projection holds all of it"
    assert min(np.corrcoef(o, t)[0, 1] for o, t in zip(ours, theirs, strict=True)) > 0.999
    assert np.abs(ours - theirs).max() < 0.02 * theirs.max()


def test_reconstruction_gives_the_object_back_upright():
    volume = blob()
    found = tomography.reconstruct(tomography.project(volume, 180, 64), 64)
    inside = np.hypot(*np.mgrid[:64, :64] - 31.5) < 24
    slope, offset = np.polyfit(volume[0][inside], found[0][inside], 1)
    assert abs(slope - 1) < 0.02 and abs(offset) < 0.01
    wrong = volume[0].T[inside]
    assert np.corrcoef(volume[0][inside], found[0][inside])[0, 1] > 0.995
    assert np.corrcoef(wrong, found[0][inside])[0, 1] < 0.9


def test_an_inner_scan_sees_the_inner_part():
    volume = blob(128)
    whole = tomography.reconstruct(tomography.project(volume, 180, 128), 128)[0, 32:96, 32:96]
    part = tomography.reconstruct(tomography.project(volume, 180, 64), 64, n=128)[0]
    inside = np.hypot(*np.mgrid[:64, :64] - 31.5) < 28
    slope, _ = np.polyfit(whole[inside], part[inside], 1)
    assert abs(slope - 1) < 0.1, "contrast is kept; the brightness of all is not known"


def test_noise_falls_with_photons_and_blur():
    lines = tomography.project(blob(), 90, 64)

    def noise(**how):
        scanner = tomography.Scanner(90, 100, 0.0, 0.0)
        found = tomography.measure(lines, replace(scanner, **how), 0)
        return (found - lines).std()

    assert noise(photons=400) == pytest.approx(noise() / 2, rel=0.1)
    assert noise(blur=2.0) < 0.4 * noise()


def test_optics_blur_the_object_and_not_the_noise():
    lines = tomography.project(blob(), 90, 64)
    scanner = tomography.Scanner(90, 1e4, 0.0, 0.0)
    sharp, soft = (tomography.measure(lines, replace(scanner, optics=k), 0) for k in (0.0, 3.0))
    noise = [np.diff(x, axis=1).std() for x in (sharp, soft)]  # neighbouring angles
    assert noise[1] == pytest.approx(noise[0], rel=0.1)
    slope = [np.abs(np.diff(x.mean(1), axis=1)).max() for x in (sharp, soft)]
    assert slope[1] < 0.8 * slope[0]


def test_gain_errors_become_rings_and_some_of_them_go():
    grains = np.random.default_rng(0).standard_normal((2, 128, 128))
    grains = 0.5 + 2 * gaussian_filter(grains, (0, 4, 4))  # nothing round about the axis
    lines = tomography.project(grains.astype(np.float32), 120, 128)
    scanner = tomography.Scanner(120, 1e6, 1.0, 0.1)
    clean = tomography.measure(lines, replace(scanner, gain=0.0), 0)
    faulty = tomography.measure(lines, scanner, 0)
    inside = np.hypot(*np.mgrid[:128, :128] - 63.5) < 60
    truth, rings, less = (
        tomography.reconstruct(x, 128)[0][inside]
        for x in (clean, faulty, tomography.without_rings(faulty))
    )
    assert (rings - truth).std() > 0.02
    assert (less - truth).std() < 0.85 * (rings - truth).std()


def test_states_are_one_material_that_swells():
    shape = (48, 160, 160)
    states = [silicon_anode.labels(3, k, shape) for k in range(3)]
    shares = [np.bincount(s.ravel(), minlength=4) / s.size for s in states]
    assert 0.22 < shares[0][1] < 0.45 and shares[0][2] == shares[0][3] == 0
    assert shares[0][1] < shares[1][1] + shares[1][3] < shares[2][1] + shares[2][3]
    assert shares[1][3] < shares[2][3] and shares[1][2] < shares[2][2]
    assert np.array_equal(states[1], silicon_anode.labels(3, 1, shape))
    middle = np.array(shape) // 2
    core = tuple(slice(m - 12, m + 12) for m in middle)  # where strain has moved little
    assert (states[0][core] > 0).sum() < 1.5 * ((states[0] > 0) & (states[2] > 0))[core].sum()
    assert silicon_anode.STRAIN == (0, 0.012, 0.024)


def test_texture_of_the_matrix_and_fading_contrast():
    shape = (48, 160, 160)
    contrasts = []
    for k in range(3):
        labels = silicon_anode.labels(3, k, shape)
        grey = silicon_anode.grey(labels, 3, k)
        inside = binary_erosion(labels == 0, iterations=2)
        contrasts.append(grey[inside].mean() - grey[labels == 1].mean())
        assert grey[inside].std() / 0.3 == pytest.approx(silicon_anode.GRAIN, rel=0.15)
    assert contrasts[0] > contrasts[1] > contrasts[2] > 0.8 * contrasts[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: silicon_anode.labels(0, 3, SMALL), "no state 3"),
        (lambda: silicon_anode.labels(0, 0, (8, 96, 96)), "16 voxels or more"),
        (lambda: nanoct.cell(0, shape=(30, 96, 96)), "multiples of 4"),
        (lambda: nanoct.cell(0, shape=(32, 96, 100)), "multiples of 4"),
        (lambda: tomography.project(np.zeros((2, 8, 9), np.float32), 4, 8), "square slices"),
    ],
)
def test_impossible_samples_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_cell_is_made_once_and_is_the_same_again(tmp_path):
    how = dict(shape=SMALL, progress=False, folder=tmp_path)
    (first,) = nanoct.cell(5, **how)
    files = list(tmp_path.glob("*.safetensors"))
    (again,) = nanoct.cell(5, **how)
    assert len(files) == 1 and files == list(tmp_path.glob("*.safetensors"))
    (anew,) = nanoct.cell(5, **(how | {"folder": None}))
    for name in vars(first):
        a, b, c = (getattr(s, name) for s in (first, again, anew))
        assert np.array_equal(a, b) and np.array_equal(a, c), name
    files[0].write_bytes(files[0].read_bytes()[:1000])
    (mended,) = nanoct.cell(5, **how)
    assert np.array_equal(mended.labels, first.labels)
    (other,) = nanoct.cell(6, **how)
    assert not np.array_equal(other.labels, first.labels)
    assert first.hq.shape == first.grey.shape == (32, 48, 48) and first.lq.shape == (16, 48, 48)


def test_without_hq_there_is_none():
    (state,) = nanoct.cell(5, (2,), hq=False, shape=SMALL, progress=False, folder=None)
    assert state.hq is None and (state.labels == 3).any()


def test_the_sample_has_moved_by_the_known_motion():
    rng = np.random.default_rng(0)
    motion = nanoct.misalignment(0, SMALL)
    assert 0.5 < np.abs(motion).max() < 4
    volume = gaussian_filter(rng.standard_normal(SMALL), 2)
    seen = nanoct.moved(volume, motion)
    back = map_coordinates(seen, np.indices(SMALL) + motion, order=3, mode="nearest")
    inner = (slice(6, -6),) * 3
    assert np.abs(back - volume)[inner].max() < 0.3 * np.abs(seen - volume)[inner].max()
