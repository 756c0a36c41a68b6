"""What is held to known statistics, without a critic."""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor


def interface_isotropy_loss(
    sr: Tensor, scale_factor: float | Fraction, isotropic: bool = True
) -> Tensor:
    r"""Unevenness of the interface density over directions and positions in a coarse voxel.

    .. math:: L = \frac{1}{3 s}\sum_{a=0}^{2}\sum_{r=0}^{s-1} (f_{ar} / \bar f - 1)^2

    with the density :math:`f_{ar}` of unlike neighbours along axis a from planes r, r + s,
    r + 2s ... An isotropic material knows neither the axes nor where the coarse grid lies, so it
    should be 0. Ours: not in the paper.

    Args:
        sr: Phase probabilities in [0, 1], shape ``(B, n, D, H, W)``.
        scale_factor: s; a fraction has no such planes, and only directions are compared.
        isotropic: Compare with the mean over all axes; otherwise with each axis' own.

    Returns:
        Scalar >= 0.
    """
    s = int(scale_factor) if int(scale_factor) == scale_factor else 1
    profiles = []
    for axis in (2, 3, 4):
        x = sr.movedim(axis, 2)
        unlike = 1 - (x[:, :, 1:] * x[:, :, :-1]).sum(1)
        planes = unlike.mean((0, 2, 3))
        profiles.append(planes[: len(planes) // s * s].view(-1, s).mean(0))
    density = torch.stack(profiles)
    mean = density.mean() if isotropic else density.mean(1, keepdim=True)
    return (density / mean.detach().clamp_min(1e-6) - 1).square().mean()


def checkerboard_loss(sr: Tensor, lr: Tensor, scale_factor: float) -> Tensor:
    r"""How much of a volume is a pattern that repeats in every coarse voxel.

    .. math:: L = \sum_{q,p} \frac{1}{s^3} \sum_r \frac{\big(\sum_i d_{ipr}\big)^2 -
              \sum_i d_{ipr}^2}{N_q (N_q - 1)}, \qquad d_{ipr} = x_{ipr} - \bar x_{qp}

    over coarse voxels i of phase q that have the phase of their six neighbours, fine phases p and
    places r in a coarse voxel. It is an estimate of the variance over r of the mean of a phase at
    that place: 0 on average for texture that does not know the coarse grid, however strong it is.
    A network that shuffles channels into pixels does know it. Ours: not in the papers.

    Args:
        sr: Phase probabilities in [0, 1], shape ``(B, n, s*D, s*H, s*W)``.
        lr: One-hot phases ``(B, m, D, H, W)``, or with voxels around these.
        scale_factor: s, a whole number.

    Returns:
        Scalar, on average >= 0; phases with fewer than four such voxels do not count.

    Raises:
        ValueError: if the scale factor is not a whole number.
    """
    if int(scale_factor) != scale_factor:
        raise ValueError(
            f"a coarse voxel of {float(scale_factor):g} fine voxels an edge has no places that "
            "repeat: use checkerboard_weight=0"
        )
    s, (b, n, *sizes) = int(scale_factor), sr.shape
    d, h, w = (k // s for k in sizes)
    inside, around = lr.bool(), F.pad(lr.bool(), (1,) * 6)
    for axis in (2, 3, 4):
        for step in (-1, 1):
            inside = inside & around.roll(step, axis)[..., 1:-1, 1:-1, 1:-1]
    halo = [(k - v) // 2 for k, v in zip(lr.shape[2:], (d, h, w), strict=True)]
    middle = (slice(a, a + v) for a, v in zip(halo, (d, h, w), strict=True))
    inside = inside[(slice(None), slice(None), *middle)]
    inside = inside.movedim(1, -1).flatten(0, 3)
    blocks = sr.float().view(b, n, d, s, h, s, w, s).permute(0, 2, 4, 6, 1, 3, 5, 7)
    blocks = blocks.reshape(b * d * h * w, n, s**3)
    loss = blocks.new_zeros(())
    for phase in range(lr.shape[1]):
        found = blocks[inside[:, phase]]
        count = len(found)
        if count < 4:
            continue
        apart = found - found.mean((0, 2), keepdim=True)
        power = apart.sum(0).square() - apart.square().sum(0)
        loss = loss + power.mean(1).sum() / (count * (count - 1))
    return loss


def volume_fraction_loss(sr: Tensor, shares: Tensor, wanted: Tensor) -> Tensor:
    r"""A price on every phase of which the output has had too much lately.

    .. math:: L = \sum_p \Big(\frac{\phi_p}{\phi^*_p} - 1\Big)\, \mathrm{mean}(x_p)

    with the running shares :math:`\phi_p` and the wanted ones :math:`\phi^*_p`. One window may
    hold any share of a phase, so the error is that of many windows and only its gradient is of
    this one. Ours: not in the paper, where nothing but the critic holds the fractions of phases
    that the coarse volume does not tell apart.

    Args:
        sr: Phase probabilities in [0, 1], shape ``(B, n, D, H, W)``.
        shares: Mean share of each phase in past windows, ``(n,)``.
        wanted: Volume fractions that the output should have, ``(n,)``, all above 0.

    Returns:
        Scalar; 0 when the shares are the wanted ones.

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> sr = torch.full((1, 2, 4, 4, 4), 0.5)
        >>> wanted = torch.tensor([0.5, 0.5])
        >>> losses.volume_fraction_loss(sr, wanted, wanted).item()
        0.0
    """
    return ((shares / wanted - 1) * sr.float().mean((0, 2, 3, 4))).sum()
