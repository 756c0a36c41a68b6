"""Statistics over many small cubes cut from one volume: the data behind a violin figure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.faces import interphase_areas, tpb_density, volume_fractions
from srlib.metrics.labels import check_axis, check_labels, count_phases
from srlib.metrics.transport import transport_efficiency


def _corners(shape: Sequence[int], n: int, edge: int, seed: int) -> NDArray:
    if n < 1:
        raise ValueError(f"n is {n}, but at least one cube is needed.")
    if not 2 <= edge <= min(shape):
        raise ValueError(
            f"edge is {edge}, but it should be from 2 to the shortest side ({min(shape)} voxels)."
        )
    room = np.array(shape) - edge
    return np.random.default_rng(seed).integers(0, room, (n, len(shape)), endpoint=True)


def random_cubes(labels: NDArray, n: int = 256, edge: int = 64, seed: int = 0) -> Iterator[NDArray]:
    """Cut ``n`` cubes at random places, all places equally likely (ME-10).

    Args:
        labels: Phases ``0 .. n-1``, 3D; a 2D image gives squares.
        n: Number of cubes; they may overlap.
        edge: Edge length in voxels.
        seed: The same seed gives the same places for the same shape.

    Returns:
        Iterator over views of ``labels``, each with all sides ``edge``.

    Raises:
        ValueError: if the labels are out of range or smaller than a cube.
    """
    labels = check_labels(labels)
    corners = _corners(labels.shape, n, edge, seed)
    return (labels[tuple(slice(c, c + edge) for c in corner)] for corner in corners)


def cube_statistics(
    labels: NDArray,
    n: int = 256,
    edge: int = 64,
    seed: int = 0,
    transport_axes: Sequence[int] = (0,),
    workers: int | None = None,
    progress: bool = False,
) -> dict[str, NDArray]:
    """Measure random cubes: everything that SuperRes, Figs 2, 5 and 7 show (ME-10).

    Args:
        labels: Phases ``0 .. n-1``, 3D; a 2D image works with ``transport_axes=()``.
        n: Number of cubes.
        edge: Edge length in voxels.
        seed: Decides the places of the cubes.
        transport_axes: Directions in which diffusion is solved (nearly all of the time).
        workers: Threads; all cores if not given. The result does not depend on it.
        progress: Show a progress bar.

    Returns:
        Arrays with the cubes along the first axis: ``volume_fractions`` ``(n, phases)``,
        ``interphase_areas`` ``(n, pairs)``, ``tpb`` ``(n,)`` and ``transport``
        ``(n, axes, phases)``; also ``pairs`` ``(pairs, 2)``, the phases of each area.

    Raises:
        ValueError: if the labels are out of range or smaller than a cube, or an axis is missing.
    """
    labels = check_labels(labels)
    phases = count_phases(labels)
    axes = [check_axis(labels, axis) for axis in transport_axes]
    if axes and labels.ndim == 2:
        raise ValueError("diffusion needs a volume: pass transport_axes=() for a 2D image.")

    def measure(cube: NDArray) -> tuple:
        transport = [[transport_efficiency(cube, p, axis) for p in range(phases)] for axis in axes]
        areas = interphase_areas(cube, phases)
        return volume_fractions(cube, phases), list(areas.values()), tpb_density(cube), transport

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        rows = pool.map(measure, random_cubes(labels, n, edge, seed))
        if progress:
            from tqdm.std import tqdm

            rows = tqdm(rows, total=n, desc="cubes", unit="cube")
        fractions, areas, tpb, transport = zip(*rows, strict=True)
    return {
        "volume_fractions": np.array(fractions),
        "interphase_areas": np.array(areas).reshape(n, -1),
        "tpb": np.array(tpb),
        "transport": np.array(transport).reshape(n, len(axes), phases),
        "pairs": np.array(list(combinations(range(phases), 2))).reshape(-1, 2),
    }
