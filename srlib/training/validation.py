"""How good a super-resolved volume is without a truth: what decides which weights are kept."""

import numpy as np

from srlib import metrics
from srlib.data.case import Case
from srlib.inference.assessment import LIMITS
from srlib.physics.downsampling import exact_scale


def quality(labels: np.ndarray, lr: np.ndarray | None, case: Case, reference: dict) -> dict:
    """How good a super-resolved volume is, judged without a 3D truth; every number is an error.

    Args:
        labels: The volume.
        lr: The coarse volume it was made from, without what was cropped; None if there is none.
        case: The inputs.
        reference: :func:`srlib.metrics.reference_statistics` of the fine images.

    Returns:
        ``fractions`` and ``areas`` (mean relative errors), ``s2`` (mean absolute error of the
        two-point functions), ``imprint`` of the coarse grid, ``anisotropy``, ``lost`` (share of
        coarse voxels not reproduced), ``stop`` (the mean of the errors of fractions and areas,
        SR-23), ``score``: the sum of the first six, each in units of :data:`LIMITS`, and ``over``:
        how many of them exceed their limit. Where the case names fractions of its own,
        ``fractions`` are compared with those, and ``areas`` and ``s2``, which belong to the
        fractions of the images, do not count for the last two.
    """
    compared = metrics.compare(labels, reference)
    fractions = compared["vf_error"]
    if case.fractions is not None:
        wanted = case.target_fractions()
        fractions = metrics.volume_fractions(labels, len(wanted)) / wanted - 1
    scale = case.scale_factor
    kept = 1.0
    if lr is not None:
        lr, phase_map = case.trusted(lr)
        kept = metrics.consistency(labels, lr, scale, case.mode, phase_map, case.one_sided)
    out = {
        "fractions": float(np.abs(fractions).mean()),
        "areas": float(np.nanmean(np.abs(list(compared["area_error"].values())))),
        "s2": float(compared["s2_mean"]),
        "imprint": float(metrics.grid_imprint(labels, exact_scale(scale).numerator)),
        "anisotropy": float(metrics.anisotropy(labels)) if case.normals is None else 0.0,
        "lost": 1 - kept,
    }
    judged = dict(LIMITS)
    if case.fractions is not None:  # areas and two-point functions of an image with others
        del judged["areas"], judged["s2"]
    out["score"] = sum(out[k] / limit for k, limit in judged.items())
    out["over"] = sum(out[k] > limit for k, limit in judged.items())
    out["stop"] = float(compared["mean_error"])
    return out
