"""What is held to a measurement: the coarse volume, local fractions, scattering."""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.physics.downsampling import coarse_size, downsample
from srlib.physics.scattering import scattering


def scattering_loss(volume: Tensor, wanted: Tensor) -> Tensor:
    r"""Squared error of the logarithm of the scattered intensity (FW-18).

    .. math:: L = \frac{1}{Q} \sum_q \big[\ln I(q) - \ln I_\mathrm{measured}(q)\big]^2

    Args:
        volume: As in :func:`scattering`.
        wanted: Measured intensity, as :func:`scattering` gives it; NaN where it is not known.

    Returns:
        Scalar >= 0; 0 when the volume scatters as measured.
    """
    found = scattering(volume, len(wanted))[1]
    known = torch.isfinite(wanted) & torch.isfinite(found) & (wanted > 0)
    if not known.any():
        raise ValueError("no shell of the measured scattering holds a positive intensity")
    return (found[known].clamp_min(1e-12).log() - wanted[known].log()).square().mean()


def voxelwise_loss(
    sr: Tensor,
    lr: Tensor,
    scale_factor: float | Fraction,
    mode: str = "blur",
    phase_map: Tensor | None = None,
    inverse_temperature: float = 100.0,
    one_sided: bool = False,
    false_positive_tolerance: float = 1.0,
    confused_phases: tuple[int, int] | None = None,
) -> Tensor:
    r"""Disagreement of a super-resolved volume with the measured coarse one.

    .. math:: l_{vw} = \frac{m}{2}\,\mathrm{MSE}\big(y,\ \sigma(P^T x)\big)

    with the down-sampling operator :math:`\sigma` (blur, trilinear, low-temperature softmax; or
    plain sampling, without softmax) and the phase map P. For one-hot phases it is the share of
    coarse voxels that disagree. SuperRes, section 3 and Algorithm 1 line 9; the m/2 makes the
    "0.5 % threshold" a share for any number of phases.

    Args:
        sr: Phase probabilities in [0, 1], shape ``(B, n, s*D, s*H, s*W)``.
        lr: One-hot phases, shape ``(B, m, D, H, W)``.
        scale_factor: s, fine voxels per coarse voxel edge.
        mode: ``"blur"`` (under-resolved) or ``"nearest"`` (under-sampled).
        phase_map: ``(n, m)`` of 0 and 1, one 1 in each row: which coarse phase each fine phase
            looks like. ``None`` when n = m and the phases are the same.
        inverse_temperature: The softmax is taken of so many times x; 100 in the public code.
        one_sided: Do not punish fine material where the coarse volume has pore, phase 0: only
            coarse voxels of the other phases count (public code, Case 2).
        false_positive_tolerance: Of a one-sided loss: the share of all coarse voxels that may look
            like material where the coarse volume has pore; what goes beyond it counts. 1 is the
            public code.
        confused_phases: Two coarse phases that the scan takes for each other: which of the two a
            voxel has does not count, see :func:`local_fraction_loss`. Ours: an anchor on voxels
            often wrong would keep what is wrong (rock x8).

    Returns:
        Scalar in [0, 1]; 0 when every coarse voxel is reproduced.

    Raises:
        ValueError: if shapes, phases or phase map do not fit.

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> lr = torch.zeros(1, 2, 2, 2, 2)
        >>> lr[:, 0, 1:], lr[:, 1, :1] = 1, 1
        >>> sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
        >>> losses.voxelwise_loss(sr, lr, 4, "nearest").item()
        0.0
        >>> losses.voxelwise_loss(sr.flip(1), lr, 4, "nearest").item()  # every voxel disagrees
        1.0
    """
    if sr.ndim != 5 or lr.ndim != 5 or sr.shape[0] != lr.shape[0]:
        raise ValueError(
            f"sr {tuple(sr.shape)} and lr {tuple(lr.shape)} must be (B, C, D, H, W), one B for both"
        )
    want = tuple(coarse_size(n, scale_factor) for n in sr.shape[2:])
    if want != tuple(lr.shape[2:]):
        raise ValueError(
            f"sr {tuple(sr.shape[2:])} at scale factor {float(scale_factor):g} needs an lr of "
            f"{want}, not {tuple(lr.shape[2:])}"
        )
    n, m = sr.shape[1], lr.shape[1]
    if phase_map is None:
        if n != m:
            raise ValueError(f"{n} fine and {m} coarse phases differ: give a ({n}, {m}) phase_map")
    else:
        try:
            phase_map = torch.as_tensor(phase_map, dtype=sr.dtype, device=sr.device)
            fits = tuple(phase_map.shape) == (n, m) and torch.equal(
                phase_map.sort(dim=1).values, torch.eye(m).to(phase_map)[[-1]].expand(n, m)
            )
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"phase_map must be ({n}, {m}) with exactly one 1 in each row")
        sr = torch.einsum("bnzyx,nm->bmzyx", sr, phase_map)
    seen = downsample(sr, scale_factor, mode)
    if mode == "blur":
        seen = torch.softmax(inverse_temperature * seen, dim=1)
    if one_sided:
        missing = F.mse_loss((seen * lr)[:, 1:], lr[:, 1:]) * (m - 1)
        extra = (lr[:, 0] * (1 - seen[:, 0])).square().mean()
        return missing + (extra - false_positive_tolerance).clamp_min(0)
    if confused_phases is not None:
        a, b = confused_phases
        error = seen - lr
        both = (error[:, a] + error[:, b]) / 2
        error[:, a], error[:, b] = both, both
        return error.square().mean() * m / 2
    return F.mse_loss(seen, lr) * m / 2


def local_fraction_loss(
    sr: Tensor,
    lr: Tensor,
    scale_factor: float,
    pair: tuple[int, int],
    wrong: float,
    size: int = 3,
) -> Tensor:
    r"""Error of the local shares of two phases that the scan takes for each other here and there.

    .. math:: L = \frac{1}{N}\sum_b \Big[\langle x_2 - x_1\rangle_b -
              \frac{\langle y_2 - y_1\rangle_b}{1 - 2\varepsilon}\Big]^2

    with means over blocks b of ``size`` coarse voxels an edge. Where a share :math:`\varepsilon` of
    either phase is taken for the other, :math:`y_2 - y_1` shrinks by :math:`1 - 2\varepsilon` in
    the mean, so single voxels may be wrong and the mean is right. Ours: not in the papers.

    Args:
        sr: Phase probabilities in [0, 1], shape ``(B, n, s*D, s*H, s*W)``.
        lr: One-hot phases, shape ``(B, m, D, H, W)``; both phases have one number in n and m.
        scale_factor: s, a whole number.
        pair: The two phases.
        wrong: The share, 0 to below 0.5.
        size: Coarse voxels an edge of a block; what is left over at the end is left out.

    Returns:
        Scalar >= 0.
    """
    a, b = pair
    size = min(size, *lr.shape[2:])
    found = F.avg_pool3d((sr[:, b] - sr[:, a]).float(), int(scale_factor) * size)
    seen = F.avg_pool3d(lr[:, b] - lr[:, a], size) / (1 - 2 * wrong)
    return F.mse_loss(found, seen)
