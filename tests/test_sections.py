"""Stacks of sections: what is left out, what comes between, and tiles."""

import numpy as np
import pytest

from srlib.physics import sectioning


def ramp(deep: int, axis: int = 0) -> np.ndarray:
    """Grey values that say the plane."""
    shape = [3, 4, 5]
    shape[axis] = deep
    index = [1, 1, 1]
    index[axis] = deep
    return np.broadcast_to(np.arange(deep).reshape(index), shape).astype(np.float32)


@pytest.mark.parametrize(("n", "offsets"), [(2, [-1, 0]), (4, [-2, 1]), (8, [-4, 3])])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_fs02_hold_of_decimation_is_the_rule_of_the_paper(n, offsets, axis):
    whole = ramp(3 * n, axis)
    held = sectioning.repeat_sections(sectioning.decimate(whole, n, axis), n, axis)
    z = np.arange(3 * n)
    found = np.moveaxis(held, axis, 0)[:, 0, 0]
    assert np.array_equal(found, z // n * n + n // 2)
    assert [(z - found).min(), (z - found).max()] == offsets


@pytest.mark.parametrize("method", ["linear", "cubic", "spline"])
@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_interpolation_gives_a_straight_line_back_between_sections(method, n):
    whole = ramp(6 * n)
    found = sectioning.fill(sectioning.decimate(whole, n), n, method)
    inner = slice(n // 2 + n, -2 * n)
    assert np.allclose(found[inner], whole[inner], atol=1e-4)
    assert np.allclose(found[n // 2 :: n], whole[n // 2 :: n], atol=1e-4), "measured ones stay"


def test_opencv_centres_are_half_a_plane_off_for_even_n():
    whole = ramp(48)
    for n, off in ((2, 0.5), (4, 0.5), (8, 0.5), (3, 0.0)):
        found = sectioning.fill(sectioning.decimate(whole, n), n, "linear", centres="opencv")
        assert np.allclose((found - whole)[2 * n : -2 * n], off, atol=1e-4)


def test_nearest_is_the_hold_and_a_curve_needs_the_cubic():
    few = np.random.default_rng(0).random((5, 2, 3)).astype(np.float32)
    assert np.allclose(sectioning.fill(few, 4, "nearest"), sectioning.repeat_sections(few, 4))
    wave = np.sin(np.arange(96) / 8)[:, None, None] * np.ones((1, 2, 2), np.float32)
    errors = [
        np.abs(sectioning.fill(sectioning.decimate(wave, 8), 8, how) - wave)[16:-16].max()
        for how in ("nearest", "linear", "cubic", "spline")
    ]
    assert errors == sorted(errors, reverse=True)


def test_fs07_the_papers_tiles():
    across, along = sectioning.starts(650, 56, 1), sectioning.starts(848, 56, 10)
    assert (len(across), len(along), len(across) * len(along)) == (12, 23, 276)
    assert 650 * 276 == 179_400 and 2 * 650 * 276 == 358_800
    assert across[-1] + 56 == 650 and along[-1] + 56 == 848
    assert (1000 // 56) ** 2 * 880 // np.array([2, 4, 8]).tolist()[0] == 127_160


def test_joined_tiles_of_a_local_function_have_no_seam():
    plane = np.random.default_rng(0).random((13, 31)).astype(np.float32)

    def restore(part: np.ndarray) -> np.ndarray:
        wide = np.pad(part, 1, mode="edge")
        return np.repeat((wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, 2:]) / 3, 2, 0)

    assert np.array_equal(
        sectioning.stitch_tiles(restore, plane, 2, (5, 9), (1, 1)), restore(plane)
    )
    assert not np.array_equal(
        sectioning.stitch_tiles(restore, plane, 2, (5, 9), (0, 0)), restore(plane)
    )


STACK = np.zeros((4, 5, 6), np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sectioning.decimate(STACK[0], 2), "three axes"),
        (lambda: sectioning.decimate(STACK, 3), "use 3 of them"),
        (lambda: sectioning.decimate(STACK, 1), "2 to 32"),
        (lambda: sectioning.decimate(STACK, 2.5), "whole number"),
        (lambda: sectioning.decimate(STACK, 2, axis=3), "0, 1 or 2"),
        (lambda: sectioning.decimate(STACK, 2, offset=2), "from 0 to 1"),
        (lambda: sectioning.decimate(STACK.astype(str), 2), "must be numbers"),
        (lambda: sectioning.fill(STACK, 2, "sinc"), "take a method"),
        (lambda: sectioning.starts(40, 56, 1), "do not fit into 40"),
        (lambda: sectioning.starts(100, 20, 10), "smaller drop"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(call, words):
    with pytest.raises(ValueError, match=words):
        call()
