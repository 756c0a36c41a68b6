"""Measurements under the names of their phases, ready for a table or a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.labels import check_labels
from srlib.metrics.lines import chord_lengths, reach_probability


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
