"""What is held to the coarse volume, or to known statistics, without a critic."""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.degrade import coarse_size, downsample


def voxelwise_loss(
    sr: Tensor,
    lr: Tensor,
    scale_factor: float | Fraction,
    mode: str = "blur",
    phase_map: Tensor | None = None,
    temperature: float = 100.0,
    one_sided: bool = False,
    spare: float = 1.0,
    mixed_up: tuple[int, int] | None = None,
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
        temperature: The softmax is taken of ``temperature * x``; the public code's 100.
        one_sided: Do not punish fine material where the coarse volume has pore, phase 0: only
            coarse voxels of the other phases count (public code, Case 2).
        spare: Of a one-sided loss: the share of all coarse voxels that may look like material
            where the coarse volume has pore; what goes beyond it counts. 1 is the public code.
        mixed_up: Two coarse phases that the scan takes for each other: which of the two a voxel has
            does not count, see :func:`share_loss`. Ours: an anchor on voxels that are often wrong
            would keep what is wrong (rock x8).

    Returns:
        Scalar in [0, 1]; 0 when every coarse voxel is reproduced.

    Raises:
        ValueError: if shapes, phases or phase map do not fit.
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
        seen = torch.softmax(temperature * seen, dim=1)
    if one_sided:
        missing = F.mse_loss((seen * lr)[:, 1:], lr[:, 1:]) * (m - 1)
        extra = (lr[:, 0] * (1 - seen[:, 0])).square().mean()
        return missing + (extra - spare).clamp_min(0)
    if mixed_up is not None:
        a, b = mixed_up
        error = seen - lr
        both = (error[:, a] + error[:, b]) / 2
        error[:, a], error[:, b] = both, both
        return error.square().mean() * m / 2
    return F.mse_loss(seen, lr) * m / 2


def share_loss(
    sr: Tensor, lr: Tensor, scale_factor: int, pair: tuple[int, int], wrong: float, size: int = 3
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


def evenness_loss(sr: Tensor, scale_factor: float | Fraction, isotropic: bool = True) -> Tensor:
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


def pattern_loss(sr: Tensor, lr: Tensor, scale_factor: int) -> Tensor:
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
            "repeat: use pattern=0"
        )
    s, (b, n, *sizes) = int(scale_factor), sr.shape
    d, h, w = (k // s for k in sizes)
    inside, around = lr.bool(), F.pad(lr.bool(), (1,) * 6)
    for axis in (2, 3, 4):
        for step in (-1, 1):
            inside = inside & around.roll(step, axis)[..., 1:-1, 1:-1, 1:-1]
    halo = [(k - v) // 2 for k, v in zip(lr.shape[2:], (d, h, w), strict=True)]
    inside = inside[(..., *(slice(a, a + v) for a, v in zip(halo, (d, h, w), strict=True)))]
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


def balance_loss(sr: Tensor, shares: Tensor, wanted: Tensor) -> Tensor:
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
    """
    return ((shares / wanted - 1) * sr.float().mean((0, 2, 3, 4))).sum()


def berhu(found: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Absolute error where it is small, squared where it is large.

    .. math:: L(r) = \begin{cases} |r| & |r| \le 0.5\\ r^2 + 0.25 & \text{else}\end{cases}

    No error has a slope below one, so none has a small gradient (InDI, "Training details"). The
    paper joins absolute and squared error, which jump at 0.5; the 0.25 closes the gap without a
    change of any slope (GAP-27).

    Args:
        found: Grey values, any shape.
        wanted: The same shape.
        mask: Weights that broadcast to the shape, such as 0 outside of the circular mask; the
            loss is a mean over the rest.

    Returns:
        Scalar >= 0; 0 when both are equal.

    Raises:
        ValueError: if the shapes differ.
    """
    if found.shape != wanted.shape:
        raise ValueError(f"found {tuple(found.shape)} and wanted {tuple(wanted.shape)} differ")
    error = (found.float() - wanted.float()).abs()
    loss = torch.where(error <= 0.5, error, error.square() + 0.25)
    if mask is None:
        return loss.mean()
    mask = mask.to(loss).expand_as(loss)
    return (loss * mask).sum() / mask.sum().clamp_min(1)


def feature_loss(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    r"""Perceptual distance: of what layers of a network see in two images.

    .. math:: L = \frac{1}{n} \sum_{l=1}^{n} \mathrm{E}\,|\phi_l(\tilde x) - \phi_l(x)|

    SRGAN (Ledig et al. 2017) takes layers of a classifier of photographs; here they are the
    critic's own, so that no weights are fetched and the features are those of the material.

    Args:
        found, wanted: A tensor for each layer, of the same shapes.

    Returns:
        Scalar >= 0; 0 when every layer sees the same.
    """
    if len(found) != len(wanted) or not found:
        raise ValueError(f"{len(found)} and {len(wanted)} layers: give one tensor of each for both")
    pairs = zip(found, wanted, strict=True)
    return torch.stack([F.l1_loss(a.float(), b.float()) for a, b in pairs]).mean()
