"""Measurements under the names of their phases, ready for a table or a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.bodies import mixed_up, small_bodies, surface_areas
from srlib.metrics.faces import interphase_areas, volume_fractions
from srlib.metrics.labels import check_labels
from srlib.metrics.lines import chord_lengths, reach_probability, two_point


def errors_percent(found: Mapping, phases: Sequence[str]) -> dict[str, float]:
    """Signed relative errors of :func:`srlib.metrics.compare` in percent.

    Returns:
        ``{"pore %": ..., "pore/nickel %": ...}``: every phase, then every pair of phases.
    """
    names = [*phases, *(f"{phases[a]}/{phases[b]}" for a, b in found["area_error"])]
    errors = [*found["vf_error"], *found["area_error"].values()]
    return {f"{name} %": 100 * float(e) for name, e in zip(names, errors, strict=True)}


def descriptors(
    labels: NDArray, phases: Sequence[str], axes: Sequence[int] | None = None, max_lag: int = 80
) -> dict[str, dict[str, NDArray]]:
    """The three rows of SuperRes, Fig. 10, each a curve over distances 0 to ``max_lag``.

    Args:
        labels: Phases ``0 .. n-1``, 2D or 3D; every phase must be present.
        phases: Their names.
        axes: Directions to average over; all if not given.
        max_lag: Largest distance in voxels.

    Returns:
        ``"same phase"`` and ``"another phase"``, chances to end there after d voxels, and
        ``"chord length"``, the chance that a voxel lies in a chord of d voxels.
    """
    labels = check_labels(labels)
    axes = range(labels.ndim) if axes is None else axes
    same, other, chords = {}, {}, {}
    for a, phase in enumerate(phases):
        reach = np.mean([reach_probability(labels, a, axis, max_lag) for axis in axes], 0)
        runs = [chord_lengths(labels, a, axis)[: max_lag + 1] for axis in axes]
        chords[phase] = np.mean([np.pad(r, (0, max_lag + 1 - len(r))) for r in runs], 0)
        b = (a + 1) % len(phases)
        same[phase], other[f"{phase} to {phases[b]}"] = reach[a], reach[b]
    return {"same phase": same, "another phase": other, "chord length": chords}


def class_errors(
    found: NDArray,
    truth: NDArray,
    phases: Sequence[str],
    *,
    pair: tuple[int, int],
    below: int = 512,
    max_lag: int | None = None,
) -> dict[str, float]:
    """Errors of a volume class by class, by the measures of the rock paper and two of ours.

    Args:
        found, truth: Phases ``0 .. n-1`` of one shape, ``(D, H, W)``.
        phases: Their names; the first is pore.
        pair: Two that a scan takes for each other.
        below: Voxels of a small pore, see :func:`srlib.metrics.small_bodies`.
        max_lag: Largest distance of the two-point functions, in voxels; None for 80, or as far as
            the volume goes.

    Returns:
        ``"pore, points"`` ..., the errors of the volume fractions in percentage points; ``"surface
        of pore %"`` ..., of the surfaces, relative; ``"two-point"``, the largest error of the
        two-point functions of all classes; ``"mixed up"``, see :func:`srlib.metrics.mixed_up`; and
        ``"small pores"``, how many there are to one true one. Of what the truth has
        none of, NaN or infinite.
    """
    n, found, truth = len(phases), check_labels(found, (3,)), check_labels(truth, (3,))
    max_lag = min(80, min(truth.shape) - 1) if max_lag is None else max_lag
    fractions = volume_fractions(found, n) - volume_fractions(truth, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        surface = surface_areas(found, n) / surface_areas(truth, n) - 1
    gaps = [
        np.abs(two_point(found, p, p, axis, max_lag) - two_point(truth, p, p, axis, max_lag)).max()
        for p in range(n)
        for axis in range(3)
    ]
    small, true = (small_bodies(x, 0, below)[0] for x in (found, truth))
    ratio = small / true if true else float("nan")
    return (
        {f"{name}, points": 100 * float(e) for name, e in zip(phases, fractions, strict=True)}
        | {f"surface of {name} %": 100 * float(e) for name, e in zip(phases, surface, strict=True)}
        | {"two-point": float(max(gaps)), "mixed up": mixed_up(found, truth, pair)}
        | {"small pores": ratio}
    )


def image_errors(
    found: NDArray,
    truth: NDArray,
    phases: Sequence[str],
    *,
    below: int = 64,
    max_lag: int | None = None,
) -> dict[str, float]:
    """Errors of images of a material against others of it, class by class.

    Args:
        found, truth: Images of phases ``0 .. n-1``, ``(N, H, W)`` and ``(M, H, W)``.
        phases: Their names; the first is pore.
        below: Pixels of a small pore.
        max_lag: Largest distance of the two-point functions, in pixels; None for 40, or as far as
            an image goes.

    Returns:
        ``"pore, points"`` ..., ``"surface of pore %"`` ... and ``"two-point"``, as in
        :func:`class_errors`; ``"variety"``, how much a volume fraction varies from image to image,
        to one of the true standard deviation, mean of the phases; ``"small pores"``, to one true
        one. Of what the truth has none of, NaN or infinite.

    Raises:
        ValueError: if the images differ in size.
    """
    found, truth = np.asarray(found), np.asarray(truth)
    if found.ndim != 3 or truth.ndim != 3 or found.shape[1:] != truth.shape[1:]:
        raise ValueError(
            f"images {found.shape} and {truth.shape} must be (N, H, W) and (M, H, W): cut squares "
            "of one size, see sample_squares"
        )

    found, truth = check_labels(found), check_labels(truth)
    max_lag = min(40, min(truth.shape[1:]) - 1) if max_lag is None else max_lag

    def measured(images: NDArray) -> tuple[NDArray, ...]:
        n = len(phases)
        shares = np.stack([(images == p).mean((1, 2)) for p in range(n)])
        surface = np.zeros(n)
        for axis in (1, 2):
            for pair, area in interphase_areas(images, n, axis).items():
                surface[list(pair)] += area
        curves = [[two_point(images, p, p, axis, max_lag) for axis in (1, 2)] for p in range(n)]
        apart = np.ones((2 * len(images), *images.shape[1:]), images.dtype)  # pores end at a plane
        apart[::2] = images
        small = np.asarray(small_bodies(apart, 0, below)[0])
        return shares.mean(1), surface, np.mean(curves, 1), shares.std(1), small

    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = measured(found), measured(truth)
        ratios = [a / b for a, b in zip(one, other, strict=True)]
    points = 100 * (one[0] - other[0])
    return (
        {f"{name}, points": float(e) for name, e in zip(phases, points, strict=True)}
        | {f"surface of {p} %": 100 * float(e - 1) for p, e in zip(phases, ratios[1], strict=True)}
        | {"two-point": float(np.abs(one[2] - other[2]).max())}
        | {"variety": float(ratios[3].mean()), "small pores": float(ratios[4])}
    )
