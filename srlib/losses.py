"""The terms of the objectives, one function each."""

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


def gradient_penalty(
    critic, real: Tensor, fake: Tensor, weight: float = 10.0, generator=None
) -> Tensor:
    r"""Keep the critic's slope near one between real and fake images.

    .. math:: \lambda\ \mathrm{E}\big[(\lVert\nabla_{\hat x} D(\hat x)\rVert_2 - 1)^2\big],
              \qquad \hat x = \epsilon\,x + (1-\epsilon)\,\tilde x

    SuperRes, Algorithm 1 line 17. Real and fake images are paired at random; where one batch is
    larger, a random part of it is used.

    Args:
        critic: Callable from images to scores.
        real: Shape ``(B, C, H, W)``.
        fake: Shape ``(B', C, H, W)``.
        weight: The coefficient lambda.
        generator: ``torch.Generator`` on the CPU for the pairing and epsilon.

    Returns:
        Scalar >= 0; 0 when every slope is one.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real {tuple(real.shape)} and fake {tuple(fake.shape)} images differ in phases or size"
        )
    n = min(len(real), len(fake))

    def part(batch: Tensor) -> Tensor:
        return batch.detach()[torch.randperm(len(batch), generator=generator)[:n].to(batch.device)]

    epsilon = torch.rand((n,) + (1,) * (real.ndim - 1), generator=generator).to(real)
    mixed = (epsilon * part(real) + (1 - epsilon) * part(fake)).requires_grad_()
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    return weight * (slope.flatten(1).float().norm(dim=1) - 1).square().mean()


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Wasserstein loss of the critic, ``D(fake) - D(real)``, means over the batches.

    SuperRes, Algorithm 1 line 18; add :func:`gradient_penalty`. Its negative is the critic's gap.
    """
    return fake_scores.float().mean() - real_scores.float().mean()


def generator_loss(
    fake_scores: Tensor, voxelwise: Tensor, weight: float = 10.0, gate: float = 0.005
) -> Tensor:
    r"""Loss of the generator: style from the critic, content from the coarse volume.

    .. math:: l_G = -D(\tilde x) + \begin{cases} 0 & l_{vw} < b\\ c\,l_{vw} & \text{else}
              \end{cases}

    SuperRes, Algorithm 1 lines 9 to 13.

    Args:
        fake_scores: Critic scores of generated slices.
        voxelwise: The scalar of :func:`voxelwise_loss`.
        weight: c, 10 in the paper.
        gate: b, 0.005 in the paper: below it the anchor is silent.
    """
    style = -fake_scores.float().mean()
    return style if voxelwise < gate else style + weight * voxelwise


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


def hinge(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    r"""Hinge loss of a critic, :math:`E[\max(0, 1-D(x))] + E[\max(0, 1+D(\tilde x))]`.

    For the GAN that InDI is compared with; its generator minimises minus the mean fake score. The
    paper does not say which adversarial loss it used (GAP-29).
    """
    return F.relu(1 - real_scores.float()).mean() + F.relu(1 + fake_scores.float()).mean()


def logistic(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    r"""Logistic loss of a critic, :math:`E[\log(1+e^{-D(x)})] + E[\log(1+e^{D(\tilde x)})]`.

    StyleGAN2's. Its generator minimises the non-saturating :func:`deceit`.
    """
    return F.softplus(-real_scores.float()).mean() + F.softplus(fake_scores.float()).mean()


def deceit(fake_scores: Tensor) -> Tensor:
    r"""Non-saturating loss of a generator, :math:`E[\log(1+e^{-D(\tilde x)})]` (StyleGAN2)."""
    return F.softplus(-fake_scores.float()).mean()


def r1_penalty(critic, real: Tensor, weight: float = 1.0) -> Tensor:
    r"""Keep the critic flat around real images.

    .. math:: R_1 = \frac{\gamma}{2}\,\mathrm{E}\big[\lVert\nabla_x D(x)\rVert_2^2\big]

    Mescheder et al. (2018). StyleGAN2 computes it at every 16th step only and makes up for it by
    the weight (lazy regularisation).

    Args:
        critic: Callable from images to scores.
        real: Shape ``(B, C, H, W)``.
        weight: The coefficient gamma, times the steps from one use to the next.

    Returns:
        Scalar >= 0; 0 when the critic is flat.
    """
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return weight / 2 * slope.float().square().sum((1, 2, 3)).mean()
