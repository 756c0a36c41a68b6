"""The baseline that learns nothing: interpolation of coarse phases."""

import numpy as np
import torch
from scipy import ndimage

from srlib.data.sampling import one_hot
from srlib.models.layers import upsample
from srlib.physics.downsampling import exact_scale


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Phases ``uint8`` of logits ``(1, n, D, H, W)``; several times faster than torch.argmax."""
    best = logits[0, 0]
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for phase in range(1, logits.shape[1]):
        labels.masked_fill_(logits[0, phase] > best, phase)
        best = torch.maximum(best, logits[0, phase])
    return labels


def interpolate(
    lr: np.ndarray, n_phases: int, scale_factor: float, method: str = "linear", mode: str = "blur"
) -> np.ndarray:
    """The baseline: repeat coarse phases, or interpolate them and take the most likely.

    Args:
        lr: Coarse phases ``(D, H, W)``.
        n_phases: Number of coarse phases.
        scale_factor: Fine voxels per coarse voxel edge; a whole number for under-sampled data.
        method: ``"nearest"``, ``"linear"`` or ``"cubic"`` (splines; not for under-sampled data).
        mode: ``"nearest"`` for under-sampled data, whose coarse voxel i sits on fine voxel
            ``scale_factor * i``; ``"blur"`` for under-resolved, whose voxel covers a block.

    Returns:
        Phases ``uint8``, ``scale_factor`` times as large (rounded down).
    """
    if method not in ("nearest", "linear", "cubic") or (method, mode) == ("cubic", "nearest"):
        raise ValueError(
            f"method must be 'nearest', 'linear', or for mode 'blur' 'cubic', not {method!r}"
        )
    scale = exact_scale(scale_factor)
    if mode == "nearest" and scale.denominator > 1:
        raise ValueError(f"under-sampled data have a whole scale factor, not {scale_factor}")
    if method == "nearest":
        shift = int(scale) // 2 if mode == "nearest" else 0
        fine = lr
        for axis in range(3):
            index = (np.arange(int(lr.shape[axis] * scale)) + shift) * scale.denominator
            fine = fine.take(np.minimum(index // scale.numerator, lr.shape[axis] - 1), axis)
        return fine
    if method == "cubic":
        channels = one_hot(lr, n_phases).numpy()
        how = dict(order=3, mode="nearest", grid_mode=True)
        fine = np.stack([ndimage.zoom(c, float(scale), **how) for c in channels])
        return most_likely(torch.from_numpy(fine)[None]).numpy()
    registration = "corner" if mode == "nearest" else "centre"
    return most_likely(upsample(one_hot(lr, n_phases)[None], scale, registration)).numpy()
