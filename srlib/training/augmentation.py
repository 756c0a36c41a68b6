"""Differentiable augmentations of label images, and how often to use them (ADA).

Karras et al., "Training generative adversarial networks with limited data" (2020): the critic sees
nothing but augmented images, real and generated alike, so it cannot learn the few real ones by
heart; each augmentation acts on an image with probability p < 1, so the generator can still tell
which images are the plain ones. Here are those that make sense for phases: no colours.

Each function takes one-hot phases or probabilities ``(B, n, H, W)``, a probability p in [0, 1] and
a ``torch.Generator`` on the CPU; it keeps shapes and, at each pixel, the sum over phases.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FURTHEST = 0.8  # of p: beyond it, augmentations show in the generated images


def chosen(x: Tensor, p: float, rng: torch.Generator) -> list[bool]:
    """Which images of a batch are augmented."""
    return (torch.rand(len(x), generator=rng) < p).tolist()


def mirrors(x: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """Mirror images left to right."""
    pick = torch.tensor(chosen(x, p, rng), device=x.device)
    return torch.where(pick[:, None, None, None], x.flip(3), x)


def quarter_turns(x: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """Turn square images by 90, 180 or 270 degrees."""
    turns = torch.randint(1, 4, (len(x),), generator=rng).tolist()
    picks = chosen(x, p, rng)
    parts = zip(x, turns, picks, strict=True)
    return torch.stack([torch.rot90(i, k, (1, 2)) if yes else i for i, k, yes in parts])


def shifts(x: Tensor, p: float, rng: torch.Generator, furthest: float = 0.125) -> Tensor:
    """Shift images by whole pixels, at most by a share of their edge; the border mirrors them."""
    m = int(furthest * x.shape[3])
    steps = torch.randint(0, 2 * m + 1, (len(x), 2), generator=rng)
    steps[[not yes for yes in chosen(x, p, rng)]] = m
    wide = F.pad(x, (m,) * 4, mode="reflect")
    high, broad = x.shape[2:]
    parts = zip(wide, steps.tolist(), strict=True)
    return torch.stack([i[:, a : a + high, b : b + broad] for i, (a, b) in parts])


def zooms(x: Tensor, p: float, rng: torch.Generator, spread: float = 0.2) -> Tensor:
    """Turn images by any angle and zoom them by 2 to the power of N(0, spread), around the middle.

    Values are interpolated linearly, so borders between phases get soft, real or generated.
    """
    angle = 2 * math.pi * torch.rand(len(x), generator=rng)
    zoom = 2 ** (spread * torch.randn(len(x), generator=rng))
    picks = torch.tensor(chosen(x, p, rng)).nonzero()[:, 0]
    if not len(picks):
        return x
    cos, sin = (f(angle) * zoom for f in (torch.cos, torch.sin))
    rows = [torch.stack([cos, -sin, 0 * cos], 1), torch.stack([sin, cos, 0 * cos], 1)]
    matrix, picks = torch.stack(rows, 1)[picks].to(x), picks.to(x.device)
    picked = x[picks]
    grid = F.affine_grid(matrix, list(picked.shape), align_corners=False)
    picked = F.grid_sample(picked, grid, padding_mode="reflection", align_corners=False)
    return x.index_copy(0, picks, picked)


def cutouts(x: Tensor, p: float, rng: torch.Generator, share: float = 0.5) -> Tensor:
    """Replace a square, of a share of the edge, by the mean phases of its image."""
    half = share / 2
    middle = torch.rand((len(x), 2, 1), generator=rng)
    picks = torch.tensor(chosen(x, p, rng))
    y, x_ = ((torch.arange(n) + 0.5) / n for n in x.shape[2:])
    rows, columns = ((at - middle[:, k]).abs() < half for k, at in enumerate((y, x_)))
    inside = (rows[:, :, None] & columns[:, None, :] & picks[:, None, None])[:, None].to(x.device)
    return torch.where(inside, x.mean((2, 3), keepdim=True), x)


def augment(x: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """All of the above, one after the other, each with probability p; nothing at p = 0."""
    if p > 0:
        for act in (mirrors, quarter_turns, shifts, zooms, cutouts):
            x = act(x, p, rng)
    return x


def adapted(
    p: float, overfitting: float, images: int, target: float = 0.6, span: float = 10_000
) -> float:
    r"""The next p: higher if the critic is too sure of the real images, else lower (ADA, eq. 1).

    .. math:: p \leftarrow p + \mathrm{sign}(r_t - 0.6)\,\frac{\text{images}}{\text{span}},
              \qquad r_t = \mathrm{E}[\mathrm{sign}\, D(x)]

    Args:
        p: Probability so far.
        overfitting: r_t of the real images since the last change, in [-1, 1]: 1 for a critic that
            knows all of them, 0 for one that does not know real from generated.
        images: Real images shown since the last change.
        target: Of r_t.
        span: Images in which p can rise from 0 to 1; 500,000 in the paper.

    Returns:
        In [0, 0.8].
    """
    step = images / span * ((overfitting > target) - (overfitting < target))
    return min(FURTHEST, max(0.0, p + step))
