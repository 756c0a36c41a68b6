"""Agreement with a reference, its spread over cubes and octants, and tables of errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, product, zip_longest

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.checks import check_axis, check_labels, check_volumes, count_phases
from srlib.metrics.correlation import (
    chord_lengths,
    pair_counts,
    pair_totals,
    reach_probability,
    two_point,
)
from srlib.metrics.image_quality import decibels, rms_error, threshold_disagreement
from srlib.metrics.morphology import (
    face_counts,
    interphase_areas,
    isosurface,
    small_bodies,
    surface_areas,
    tpb_counts,
    tpb_density,
    volume_fractions,
)
from srlib.metrics.segmentation import confused_fraction
from srlib.metrics.transport import transport_efficiency


def octants(measure: Callable[..., float], *volumes: NDArray) -> NDArray:
    """A measure of each of eight equal parts, ``(8,)``: the paper's way to a spread (FS-15).

    What an odd edge leaves over is left out.

    Raises:
        ValueError: if volumes differ in shape, or an edge is shorter than 2.
    """
    check_volumes(*volumes)
    half = [n // 2 for n in volumes[0].shape]
    if min(half) < 1:
        raise ValueError(f"a volume of {volumes[0].shape} has no eight parts")
    parts = [
        tuple(slice(i * n, (i + 1) * n) for i, n in zip(corner, half, strict=True))
        for corner in product((0, 1), repeat=3)
    ]
    return np.array([measure(*(v[part] for v in volumes)) for part in parts])


def gain(errors: NDArray, others: NDArray, seed: int = 0, draws: int = 9999) -> dict[str, float]:
    """By how many decibels root mean square errors are smaller than others, with 95 % limits.

    Args:
        errors, others: Of the same parts of a volume, as by :func:`eighths`.
        seed: Of the bootstrap over the parts.
        draws: Of it.

    Returns:
        ``"gain"``, ``"low"`` and ``"high"`` in dB, of the mean over parts; they do not
        know how much another volume or training would differ.
    """
    squares = np.stack([errors, others], -1) ** 2
    rng = np.random.default_rng(seed)
    drawn = squares[rng.integers(0, len(squares), (draws, len(squares)))].mean(1)
    many = 10 * np.log10(drawn[:, 1] / drawn[:, 0])
    low, high = np.percentile(many, [2.5, 97.5])
    a, b = squares.mean(0)
    return {"gain": float(10 * np.log10(b / a)), "low": float(low), "high": float(high)}


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


def consistency(
    sr: NDArray,
    lr: NDArray,
    scale_factor: float | Fraction,
    mode: str,
    phase_map: NDArray | None = None,
    one_sided: bool = False,
) -> float:
    """Share of the measured coarse voxels that the fine volume gives back when down-sampled.

    Args:
        sr: Fine labels ``(D, H, W)``.
        lr: Coarse labels; the size that ``sr`` has after down-sampling.
        scale_factor: Fine voxels per coarse voxel edge.
        mode: ``"blur"`` or ``"nearest"``, see :func:`srlib.physics.downsampling.downsample`.
        phase_map: 0/1 matrix ``(n_sr, n_lr)`` that says which coarse phase a fine phase looks
            like; the identity if not given.
        one_sided: Count coarse voxels of other phases than pore (phase 0) only.

    Returns:
        Share in [0, 1] of equal voxels; a coarse voxel takes its most frequent phase.

    Raises:
        ValueError: if the sizes or the phases do not fit together.

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> lr = np.random.default_rng(0).integers(0, 2, (4, 4, 4))
        >>> blocks = lr.repeat(4, 0).repeat(4, 1).repeat(4, 2)
        >>> [metrics.consistency(sr, lr, 4, "nearest") for sr in (blocks, 1 - blocks)]
        [1.0, 0.0]
    """
    import torch

    from srlib.physics.downsampling import downsample

    sr, lr = check_labels(sr, (3,)), check_labels(lr, (3,))
    n_sr, n_lr = count_phases(sr), count_phases(lr)
    mapping = np.eye(max(n_sr, n_lr)) if phase_map is None else np.asarray(phase_map)
    if mapping.ndim != 2 or mapping.shape[0] < n_sr or mapping.shape[1] < n_lr:
        raise ValueError(
            f"phase_map has shape {mapping.shape}, but sr has {n_sr} phases and lr has {n_lr}."
        )
    shares = []
    for column in mapping.T:
        mask = torch.from_numpy(column.astype(np.float32)[sr])
        shares.append(downsample(mask[None, None], scale_factor, mode=mode)[0, 0].numpy())
    if shares[0].shape != lr.shape:
        raise ValueError(
            f"sr {sr.shape} shrinks to {shares[0].shape}, but lr is {lr.shape}: "
            "crop one of them or check scale_factor."
        )
    same = np.argmax(shares, axis=0) == lr
    if one_sided and not lr.any():
        raise ValueError("lr is pore throughout: nothing in it can be given back.")
    return float(np.mean(same[lr > 0] if one_sided else same))


def reference_statistics(
    reference: NDArray | Sequence[NDArray],
    n_phases: int | None = None,
    max_lag: int = 80,
    normals: Sequence[int] | None = None,
) -> dict:
    """Volume fractions, areas, triple-phase boundary and two-point functions of a reference.

    Args:
        reference: One labelled array (2D or 3D) or a list of 2D images; a list is pooled.
        n_phases: Number of phases; the largest label plus one if not given.
        max_lag: Largest lag in voxels, cut to what the smallest side allows.
        normals: The axis normal to each image of an anisotropic material: every axis then counts
            alike, however many images it has.

    Returns:
        ``volume_fractions`` ``(n,)``, ``interphase_areas`` ``{(a, b): share}``, ``tpb``, and
        ``two_point`` ``{(a, b): (lags,)}`` for ``a <= b``, averaged over all axes and over both
        directions of the step.

    Raises:
        ValueError: if the list is empty or the labels are out of range.
    """
    arrays = [reference] if isinstance(reference, np.ndarray) else list(reference)
    if not arrays:
        raise ValueError("reference is an empty list: give at least one labelled image.")
    arrays = [check_labels(array) for array in arrays]
    n = max(count_phases(array, n_phases) for array in arrays)
    max_lag = min([max_lag] + [min(array.shape) - 1 for array in arrays])
    if normals is None:
        return _pooled(arrays, n, max_lag)
    groups = [[a for a, k in zip(arrays, normals, strict=True) if k == i] for i in set(normals)]
    return _mean_of([_pooled(group, n, max_lag) for group in groups])


def _mean_of(parts: list[dict]) -> dict:
    """Mean of several reference statistics, which count alike."""
    out = {k: np.mean([p[k] for p in parts], 0) for k in ("volume_fractions", "tpb")}
    for key in ("interphase_areas", "two_point"):
        out[key] = {pair: np.mean([p[key][pair] for p in parts], 0) for pair in parts[0][key]}
    return out


def _pooled(arrays: list[NDArray], n: int, max_lag: int) -> dict:
    """Statistics of images that all show the same: counts are added up."""
    sizes = np.array([array.size for array in arrays])
    fractions = np.average([volume_fractions(array, n) for array in arrays], 0, sizes)
    faces, edges, face_total = dict.fromkeys(combinations(range(n), 2), 0), np.zeros(2), 0
    joint, steps = np.zeros((n, n, max_lag + 1)), np.zeros(max_lag + 1)
    for array in arrays:
        counts, total = face_counts(array, n, range(array.ndim))
        faces = {pair: faces[pair] + counts[pair] for pair in faces}
        face_total += total
        edges += tpb_counts(array)
        for axis in range(array.ndim):
            joint += pair_counts(array, range(n), axis, max_lag)
            steps += pair_totals(array.shape, axis, max_lag)
    joint = (joint + joint.swapaxes(0, 1)) / (2 * steps)
    return {
        "volume_fractions": fractions,
        "interphase_areas": {pair: count / max(face_total, 1) for pair, count in faces.items()},
        "tpb": float(edges[0] / max(edges[1], 1)),
        "two_point": {p: joint[p] for p in combinations_with_replacement(range(n), 2)},
    }


def compare(sr: NDArray, reference: NDArray | Sequence[NDArray] | dict, max_lag: int = 80) -> dict:
    """How far a volume is from a reference, in the numbers that a training watches.

    Args:
        sr: Labels of the volume to judge, 3D (a 2D image also works).
        reference: Labelled array, list of 2D images, or :func:`reference_statistics` of them
            (made once, this saves time).
        max_lag: Largest lag of the two-point functions, in voxels.

    Returns:
        ``vf_error`` ``(n,)`` and ``area_error`` ``{(a, b): float}``, relative and signed
        (nan where the reference has none); ``s2_mean`` and ``s2_max``, absolute difference of
        the two-point functions over all pairs ``a <= b`` and lags; ``tpb`` of ``sr`` and its
        relative ``tpb_error``; ``mean_error``, the mean size of all volume-fraction and area
        errors (ME-13).

    Raises:
        ValueError: if either side is not a valid label array.

    Example:
        >>> import numpy as np
        >>> from srlib import metrics
        >>> truth = np.tile([0, 0, 0, 1], (8, 2))
        >>> found = metrics.compare(np.tile([0, 0, 1, 1], (8, 2)), truth)
        >>> found["vf_error"].round(2).tolist()  # too little of phase 0, twice as much of phase 1
        [-0.33, 1.0]
    """
    sr = check_labels(sr)
    ref = reference
    if not isinstance(ref, dict):
        ref = reference_statistics(ref, max_lag=max_lag)
    n = max(len(ref["volume_fractions"]), count_phases(sr))
    ours = reference_statistics(sr, n, max_lag)

    def relative(value: float, target: float) -> float:
        return float(value / target - 1) if target else float("nan")

    fractions = zip_longest(ours["volume_fractions"], ref["volume_fractions"], fillvalue=0.0)
    areas = ref["interphase_areas"]
    gaps = []
    for pair, curve in ref["two_point"].items():
        lags = min(len(curve), len(ours["two_point"][pair]))
        gaps.append(np.abs(ours["two_point"][pair][:lags] - curve[:lags]))
    vf_error = np.array([relative(*both) for both in fractions])
    area_error = {
        pair: relative(area, areas.get(pair, 0.0))
        for pair, area in ours["interphase_areas"].items()
    }
    return {
        "vf_error": vf_error,
        "area_error": area_error,
        "mean_error": float(np.nanmean(np.abs([*vf_error, *area_error.values()]))),
        "s2_mean": float(np.mean(gaps)),
        "s2_max": float(np.max(gaps)),
        "tpb": ours["tpb"],
        "tpb_error": relative(ours["tpb"], ref["tpb"]),
    }


def errors_percent(
    labels: NDArray,
    reference: NDArray | Sequence[NDArray] | dict,
    phases: Sequence[str],
    *,
    two_point: bool = False,
    max_lag: int = 80,
) -> dict[str, float]:
    """Signed relative errors against a reference in percent, as in :func:`compare`.

    Args:
        labels: Phases ``0 .. n-1``.
        reference: As in :func:`compare`.
        phases: Their names.
        two_point: Add ``"two-point"``, the mean absolute error of the two-point functions.
        max_lag: Of these.

    Returns:
        ``{"pore %": ..., "pore/nickel %": ...}``: every phase, then every pair of phases.
    """
    found = compare(labels, reference, max_lag)
    names = [*phases, *(f"{phases[a]}/{phases[b]}" for a, b in found["area_error"])]
    errors = [*found["vf_error"], *found["area_error"].values()]
    percent = {f"{name} %": 100 * float(e) for name, e in zip(names, errors, strict=True)}
    return percent | ({"two-point": found["s2_mean"]} if two_point else {})


def cube_means(statistics: Mapping, phases: Sequence[str]) -> dict[str, float]:
    """Means over cubes, by name: nine for three phases, as in SuperRes, Fig. 2.

    Args:
        statistics: Of :func:`cube_statistics`, or measured by the authors.
        phases: Names of the phases.

    Returns:
        Each phase, each pair of phases (``"pore/binder"``) and ``"transport, pore"``.
    """
    pairs = [f"{a}/{b}" for a, b in combinations(phases, 2)]
    names = [*phases, *pairs, *(f"transport, {phase}" for phase in phases)]
    columns = {"volume_fractions": len(phases), "interphase_areas": len(pairs)}
    columns["transport"] = len(phases)
    means = [statistics[key].reshape(-1, n).mean(0) for key, n in columns.items()]
    return dict(zip(names, map(float, np.concatenate(means)), strict=True))


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
        two-point functions of all classes; ``"mixed up"``, see
        :func:`srlib.metrics.confused_fraction`; and
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
        | {"two-point": float(max(gaps)), "mixed up": confused_fraction(found, truth, pair)}
        | {"small pores": ratio}
    )


def depth_scores(volume: NDArray, truth: NDArray, threshold: float) -> dict[str, float]:
    """A restored grey volume against the truth, by three measures of the FIB-SEM paper.

    Args:
        volume: Grey values; rounded and cut to 0 .. 255.
        truth: Grey values of 8 bits.
        threshold: Grey value from which on a voxel is solid.

    Returns:
        ``dB`` (PSNR), ``flipped %`` (voxels on the wrong side of the threshold) and ``surface %``
        (error of the isosurface's area, with its sign).
    """
    grey = np.rint(np.clip(volume, 0, 255)).astype(np.uint8)
    return {
        "dB": decibels(rms_error(grey, truth)),
        "flipped %": 100 * threshold_disagreement(grey, truth, threshold),
        "surface %": 100 * (isosurface(grey, threshold) / isosurface(truth, threshold) - 1),
    }


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
