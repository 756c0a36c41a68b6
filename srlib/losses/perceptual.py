"""Distances of grey images: Berhu, and layers of a network."""

import torch
import torch.nn.functional as F
from torch import Tensor


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

    Example:
        >>> import torch
        >>> from srlib import losses
        >>> losses.berhu(torch.tensor([0.25, 2.0]), torch.zeros(2)).item()  # (0.25 + 4.25) / 2
        2.25
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
