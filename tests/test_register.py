"""Rows IN-07 and IN-08: known motions of a synthetic volume are found again."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from srlib.data import registration

pytest.importorskip("SimpleITK")
SHAPE = (32, 96, 112)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[4:-4, 4:-4, 4:-4] = True


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 5.0)
    return gaussian_filter((field > 0).astype(np.float32), 1.5)


def places() -> list[np.ndarray]:
    """Coordinates z, y, x from the centre."""
    return [p - (n - 1) / 2 for p, n in zip(np.ogrid[tuple(map(slice, SHAPE))], SHAPE, strict=True)]


def shift(*voxels: float) -> np.ndarray:
    field = np.empty((3, *SHAPE), np.float32)
    field[:] = np.reshape(voxels, (3, 1, 1, 1))
    return field


def smooth_warp() -> np.ndarray:
    _, y, x = places()
    field = shift(0.0, 0.0, 0.0)
    field[1] += np.sin(x / 24)
    field[2] += np.cos(y / 24)
    return field


def test_a_shift_is_found(sharp):
    true = shift(1.3, -2.2, 0.7)
    fixed = registration.apply(sharp, true)
    found = registration.register(sharp, fixed, progress=False)
    assert found.dtype == np.float32 and found.shape == true.shape
    assert registration.residual(found, true) < 0.15
    swapped = registration.residual(found[::-1], true)
    assert swapped > 0.5


def test_a_rotation_about_z_is_found(sharp):
    z, y, x = places()
    turn = np.deg2rad(0.5)
    true = shift(0.0, 0.0, 0.0)
    true[1] += (np.cos(turn) - 1) * y + np.sin(turn) * x
    true[2] += (np.cos(turn) - 1) * x - np.sin(turn) * y
    found = registration.rigid(sharp, registration.apply(sharp, true))
    assert registration.residual(found, true) < 0.1 < 0.3 < registration.residual(0 * true, true)
    slope = np.polyfit(np.arange(SHAPE[2]), found[1].mean((0, 1)), 1)[0]
    assert slope == pytest.approx(np.sin(turn), rel=0.1)


def test_what_lies_outside_the_mask_does_not_count(sharp):
    true = shift(0.6, -1.4, 0.9)
    mask = np.ones(SHAPE, bool)
    mask[:, :, 70:] = False
    fixed = registration.apply(sharp, true)
    fixed[:, :, 70:] = sharp[:, ::-1, 70:] * 5
    assert registration.residual(registration.rigid(sharp, fixed, mask), true) < 0.3


def test_demons_take_up_a_warp_that_a_rigid_motion_cannot(sharp):
    true = shift(0.4, -0.8, 0.6) + smooth_warp()
    fixed = registration.apply(sharp, true)
    rigid = registration.rigid(sharp, fixed)
    both = registration.demons(sharp, fixed, rigid)
    before = registration.residual(rigid, true, INSIDE)
    assert before > 0.3
    assert registration.residual(both, true, INSIDE) < before / 2
    again = registration.register(sharp, fixed, smooth=12.0, progress=False)
    assert registration.residual(both, again) < 0.05


@pytest.mark.parametrize("order", [1, 3])
def test_a_whole_shift_moves_voxels(sharp, order):
    moved = registration.apply(sharp, shift(1, -2, 3), order)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[:-1, 2:, :-3], sharp[1:, :-2, 3:], atol=1e-6 * order**3)


def test_strain_is_the_slope_in_the_plane():
    z, y, x = places()
    field = shift(3.0, 1.0, -2.0)
    field[0] += 0.5 * z
    field[1] += 0.02 * y
    assert registration.strain(field) == pytest.approx(0.01, abs=1e-5)
    field[2] += 0.02 * x
    assert registration.strain(field) == pytest.approx(0.02, abs=1e-5)
    assert registration.strain(field, INSIDE) == pytest.approx(0.02, abs=1e-5)
    field[1, ~INSIDE] = 50.0
    assert registration.strain(field, INSIDE) == pytest.approx(0.02, abs=1e-5)


def test_residual_is_a_median_length():
    assert registration.residual(shift(3, 0, 4), shift(0, 0, 0)) == pytest.approx(5)
    mixed = shift(3, 0, 4)
    mixed[:, ~INSIDE] = 0
    assert registration.residual(mixed, shift(0, 0, 0), INSIDE) == pytest.approx(5)


def test_what_does_not_fit_raises(sharp):
    hole = sharp.copy()
    hole[3, 4, 5] = np.nan
    with pytest.raises(ValueError, match="fixed is .* should be"):
        registration.rigid(sharp, sharp[:, 1:])
    with pytest.raises(ValueError, match="3 axes"):
        registration.register(sharp[0], sharp[0], progress=False)
    with pytest.raises(ValueError, match="16 voxels"):
        registration.rigid(sharp[:15], sharp[:15])
    with pytest.raises(ValueError, match="finite"):
        registration.rigid(sharp, hole)
    with pytest.raises(ValueError, match="mask"):
        registration.rigid(sharp, sharp, np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="displacement"):
        registration.apply(sharp, shift(0, 0, 0)[:2])
    with pytest.raises(ValueError, match="true"):
        registration.residual(shift(0, 0, 0), shift(0, 0, 0)[:, 1:])
    with pytest.raises(ValueError, match="smooth"):
        registration.demons(sharp, sharp, smooth=0)
