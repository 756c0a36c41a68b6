"""Cases 1, 2 and 4 once more, from the shipped weights, beside interpolation.

Stored numbers cannot tell whether the code of today still makes them. Here a network of a synthetic
material super-resolves a piece of that material, and the truth judges. Every limit is relative, and
untrained weights of the same network fail it.
"""

from functools import cache

import numpy as np
import pytest
import torch

from srlib import datasets, metrics, models
from srlib.data import Case
from srlib.inference import interpolation, superres

SMALL, LARGE = (96, 22), (160, 34)  # fine voxels of the material, coarse ones of the piece
SIZES = [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large", marks=pytest.mark.slow)]
CATHODES = ["case1-twin-0"]
CATHODES += sorted(path.stem for path in models.WEIGHTS.glob("electrode-twin-*.safetensors"))


def untrained(name: str) -> torch.nn.Module:
    """The network of these weights before its first step."""
    torch.manual_seed(0)
    trained = models.load(name)
    return type(trained)(**trained.config).eval()


@cache
def piece(name: str, edge: int, part: int) -> tuple[Case, np.ndarray, np.ndarray, np.ndarray]:
    """A case, a part of its scan, the truth there, and what linear interpolation makes of it."""
    case = datasets.load(name, "twin", edge=edge)
    coarse, scale = case.lr[:part, :part, :part], case.scale_factor
    inside = tuple(slice(scale, scale * (n - 1)) for n in coarse.shape)
    linear = interpolation.interpolate(coarse, len(case.lr_phases), scale, "linear")[inside]
    return case, coarse, case.truth[inside], linear


def relative(found: dict, truth: dict) -> dict[str, float]:
    return {key: abs(found[key] / value - 1) for key, value in truth.items()}


def threads(labels: np.ndarray) -> dict[str, float]:
    """Of a separator: its fibrils, its surface, and what conducts along and across the sheets."""
    return {
        "fibrils": float(metrics.thin_parts(labels, 1, (0, 1)).mean()),
        "area": metrics.interphase_areas(labels, 2)[0, 1],
        "pore along z": metrics.transport_efficiency(labels, 0, 0),
        "solid along x": metrics.transport_efficiency(labels, 1, 2),
    }


def separator_holds(model, size: tuple[int, int], seed: int, fibrils: float) -> None:
    _, coarse, truth, linear = piece("case2", *size)
    found = threads(superres.superres(model, coarse, seed, progress=False))
    right = threads(truth)
    off, was = relative(found, right), relative(threads(linear), right)
    assert off["fibrils"] <= fibrils
    for key in right:
        assert off[key] < 0.5 * was[key], key


@cache
def cathode_of(name: str, size: tuple[int, int]) -> np.ndarray:
    return superres.superres(models.load(name), piece("case1", *size)[1], 0, progress=False)


def shares_and_areas(labels: np.ndarray) -> dict[str, float]:
    shares = metrics.volume_fractions(labels, 3)
    return {f"phase {p}": s for p, s in enumerate(shares)} | {
        f"area {a}-{b}": v for (a, b), v in metrics.interphase_areas(labels, 3).items()
    }


def cathode_holds(found: np.ndarray, size: tuple[int, int]) -> None:
    case, coarse, truth, linear = piece("case1", *size)  # the electrode has the same volume
    off, was = (relative(shares_and_areas(v), shares_and_areas(truth)) for v in (found, linear))
    assert off["phase 2"] < 0.1, "binder, of which the scan has none"
    assert off["phase 1"] < 0.03, "the scan holds it"
    for pair in ("0-1", "0-2", "1-2"):
        assert off[f"area {pair}"] < 0.3 * was[f"area {pair}"], pair
    exact = metrics.reference_statistics(truth)
    assert (
        metrics.compare(found, exact)["s2_mean"] < 0.2 * metrics.compare(linear, exact)["s2_mean"]
    )
    kept = metrics.consistency(found, coarse[1:-1, 1:-1, 1:-1], 4, case.mode, case.phase_map)
    assert kept > 0.99
    for phase in (0, 2):
        right, ours, flat = (metrics.transport_efficiency(v, phase) for v in (truth, found, linear))
        assert abs(ours - right) < 0.75 * abs(flat - right), case.phases[phase]


def sponge_holds(model, size: tuple[int, int]) -> None:
    case, coarse, truth, linear = piece("case4", *size)
    found = superres.superres(model, coarse, 0, progress=False)
    off, was = (relative(shares_and_areas(v), shares_and_areas(truth)) for v in (found, linear))
    for key in ("phase 0", "phase 2", "area 0-2"):
        assert off[key] < 0.25, key
        assert off[key] < 0.3 * was[key], key
    kept = metrics.consistency(found, coarse[1:-1, 1:-1, 1:-1], 8, case.mode, case.phase_map)
    assert kept > 0.99


def test_cs11_a_separator_it_has_not_seen():
    separator_holds(models.load("case2-twin-0"), SMALL, 0, fibrils=0.4)  # a small piece has few
    with pytest.raises(AssertionError):
        separator_holds(untrained("case2-twin-0"), SMALL, 0, fibrils=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cs11_fibrils_within_a_fifth(seed):
    separator_holds(models.load(f"case2-twin-{seed}"), LARGE, seed, fibrils=0.2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CATHODES)
def test_cs01_a_cathode_it_has_not_seen(name, size, request):
    if (name, size) == ("electrode-twin-1", SMALL):
        reason = "binder off by 11 % (10 asked); by 6 % in the larger piece"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    cathode_holds(cathode_of(name, size), size)


@pytest.mark.xfail(strict=True, reason="off by 4 to 8 %, linear interpolation by 1 %")
@pytest.mark.parametrize("name", CATHODES)
def test_cs01_active_material_conducts_more_truly_than_by_interpolation(name):
    _, _, truth, linear = piece("case1", *SMALL)
    right, ours, flat = (
        metrics.transport_efficiency(v, 1) for v in (truth, cathode_of(name, SMALL), linear)
    )
    assert abs(ours - right) < abs(flat - right)


def test_cs01_fails_untrained():
    with pytest.raises(AssertionError):
        coarse = piece("case1", *SMALL)[1]
        cathode_holds(
            superres.superres(untrained("case1-twin-0"), coarse, 0, progress=False), SMALL
        )


@pytest.mark.parametrize("size", [pytest.param((128, 13), id="small"), SIZES[1]])
def test_cs23_a_sponge_it_has_not_seen(size):
    sponge_holds(models.load("case4-twin-0"), (size[0], min(size[1], size[0] // 8)))


def test_cs23_fails_untrained():
    with pytest.raises(AssertionError):
        sponge_holds(untrained("case4-twin-0"), (128, 13))
