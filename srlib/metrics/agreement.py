"""One volume against another: does it match the measurement and the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, zip_longest

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.faces import face_counts, tpb_counts, volume_fractions
from srlib.metrics.labels import check_labels, count_phases
from srlib.metrics.lines import pair_counts, pair_totals


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
        mode: ``"blur"`` or ``"nearest"``, see :func:`srlib.degrade.downsample`.
        phase_map: 0/1 matrix ``(n_sr, n_lr)`` that says which coarse phase a fine phase looks
            like; the identity if not given.
        one_sided: Count coarse voxels of other phases than pore (phase 0) only.

    Returns:
        Share in [0, 1] of equal voxels; a coarse voxel takes its most frequent phase.

    Raises:
        ValueError: if the sizes or the phases do not fit together.
    """
    import torch

    from srlib.degrade import downsample

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
    if normals is not None:
        groups = [[a for a, k in zip(arrays, normals, strict=True) if k == i] for i in set(normals)]
        parts = [reference_statistics(group, n, max_lag) for group in groups]
        out = {k: np.mean([p[k] for p in parts], 0) for k in ("volume_fractions", "tpb")}
        for key in ("interphase_areas", "two_point"):
            out[key] = {pair: np.mean([p[key][pair] for p in parts], 0) for pair in parts[0][key]}
        return out
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
