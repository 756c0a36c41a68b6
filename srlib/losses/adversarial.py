"""What a critic and its generator minimise."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    weight: float = 10.0,
    generator: torch.Generator | None = None,
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

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> real, fake = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> losses.gradient_penalty(lambda x: 3 * x[:, 0, 0, 0], real, fake).item()  # 10 (3 - 1)^2
        40.0
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

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> losses.critic_loss(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])).item()
        -2.0
    """
    return fake_scores.float().mean() - real_scores.float().mean()


def generator_loss(
    fake_scores: Tensor,
    voxelwise: Tensor,
    consistency_weight: float = 10.0,
    consistency_threshold: float = 0.005,
) -> Tensor:
    r"""Loss of the generator: style from the critic, content from the coarse volume.

    .. math:: l_G = -D(\tilde x) + \begin{cases} 0 & l_{vw} < b\\ c\,l_{vw} & \text{else}
              \end{cases}

    SuperRes, Algorithm 1 lines 9 to 13.

    Args:
        fake_scores: Critic scores of generated slices.
        voxelwise: The scalar of :func:`voxelwise_loss`.
        consistency_weight: c, 10 in the paper.
        consistency_threshold: b, 0.005 in the paper: below it the anchor is silent.

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> scores = torch.tensor([0.5, 0.5])
        >>> losses.generator_loss(scores, torch.tensor(0.004)).item()  # below the threshold
        -0.5
        >>> losses.generator_loss(scores, torch.tensor(0.25)).item()
        2.0
    """
    style = -fake_scores.float().mean()
    return style if voxelwise < consistency_threshold else style + consistency_weight * voxelwise


def hinge(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    r"""Hinge loss of a critic, :math:`E[\max(0, 1-D(x))] + E[\max(0, 1+D(\tilde x))]`.

    For the GAN that InDI is compared with; its generator minimises minus the mean fake score. The
    paper does not say which adversarial loss it used (GAP-29).
    """
    return F.relu(1 - real_scores.float()).mean() + F.relu(1 + fake_scores.float()).mean()


def logistic_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    r"""Logistic loss of a critic, :math:`E[\log(1+e^{-D(x)})] + E[\log(1+e^{D(\tilde x)})]`.

    StyleGAN2's. Its generator minimises the non-saturating :func:`deceit`.
    """
    return F.softplus(-real_scores.float()).mean() + F.softplus(fake_scores.float()).mean()


def nonsaturating_generator_loss(fake_scores: Tensor) -> Tensor:
    r"""Non-saturating loss of a generator, :math:`E[\log(1+e^{-D(\tilde x)})]` (StyleGAN2)."""
    return F.softplus(-fake_scores.float()).mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, weight: float = 1.0) -> Tensor:
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
