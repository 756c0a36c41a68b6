"""Restore grey slices with a trained network, in one step or in several small ones (InDI)."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.std import tqdm

from srlib.data.normalization import check_grey
from srlib.precision import autocast


def restore(
    model: nn.Module,
    image: np.ndarray,
    steps: int = 8,
    *,
    stop: int | None = None,
    tile: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    r"""Slices restored by inversion by direct iteration.

    .. math:: x_{t-\delta} = \tfrac{\delta}{t} F(x_t, t) + (1 - \tfrac{\delta}{t})\, x_t,
              \qquad x_1 = y,\quad \delta = 1/N

    InDI, "Training and testing"; one step is plain regression, F(y, 1).

    Args:
        model: A :class:`srlib.models.RestorationUNet`.
        image: Grey values in [-1, 1], ``(H, W)`` or slices ``(D, H, W)``, each on its own.
        steps: N.
        stop: Steps of the N to do; None for all of them.
        tile: Edge of the squares in which an image is worked through, pixels; None for slices as a
            whole. The pixels are the same but for rounding; the memory is less.
        progress: Show a bar.

    Returns:
        ``float32``, the shape of ``image``.

    Raises:
        ValueError: for an image that is not 2D or 3D, not finite or far outside [-1, 1], or for
            impossible steps.

    Example:
        >>> import numpy as np
        >>> from srlib import models
        >>> from srlib.inference.restoration import restore
        >>> model = models.RestorationUNet(width=8)  # train one with srlib.training.fit_restorer
        >>> restore(model, np.zeros((32, 32), np.float32), steps=2).shape
        (32, 32)
    """
    *_, last = path(model, image, steps, stop=stop, tile=tile, progress=progress)
    return last


def path(
    model: nn.Module,
    image: np.ndarray,
    steps: int,
    *,
    stop: int | None = None,
    tile: int | None = None,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """What :func:`restore` has after each step; same arguments."""
    image = _checked(image, steps, stop)
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last)  # the same numbers, a third faster on a CPU
    x = torch.from_numpy(image.reshape(-1, 1, *image.shape[-2:])).clone()
    planes = [(n, k) for n in range(stop or steps) for k in range(len(x))]
    bar = tqdm(planes, "restoring", disable=not progress, mininterval=1)
    with torch.inference_mode(), autocast(device):
        for n, k in bar:
            t = 1 - n / steps
            clean = _answer(model, x[k : k + 1].to(device), t, tile).cpu()
            x[k : k + 1] = clean / (steps - n) + x[k : k + 1] * (1 - 1 / (steps - n))
            if k + 1 == len(x):
                yield x.numpy().reshape(image.shape).copy()


def noise_level(s: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the clean slice and how much noise a slice at time s in [0, 1] of a diffusion is.

    Cosine and sine of a quarter turn times s, so that the variance stays one.
    """
    return torch.cos(torch.pi / 2 * s).clamp_min(1e-3), torch.sin(torch.pi / 2 * s)


def diffuse(
    model: nn.Module, image: np.ndarray, steps: int = 256, seed: int = 0, eta: float = 1.0
) -> np.ndarray:
    r"""Slices restored by a conditional diffusion, each step one call of the network.

    .. math:: x_r = a_r F + \sqrt{b_r^2 - c^2}\, \tfrac{x_s - a_s F}{b_s} + c\, n,
              \qquad c = \eta\, \tfrac{b_r}{b_s} \sqrt{1 - a_s^2 / a_r^2}

    with a and b of :func:`noise_level`, from s = 1 to 0 (Song et al. 2021, eq. 12 and 16).

    Args:
        model: Of :func:`srlib.training.fit_diffusion`.
        image: As in :func:`restore`.
        steps: N.
        seed: Of the noise.
        eta: 1 for the classical sampler with fresh noise at each step, 0 for the one without.

    Raises:
        ValueError: as in :func:`restore`.
    """
    image = _checked(image, steps)
    device, rng = next(model.parameters()).device, torch.Generator().manual_seed(seed)
    y = torch.from_numpy(image.reshape(-1, 1, *image.shape[-2:]))
    x = torch.randn(y.shape, generator=rng)
    times = torch.linspace(1, 0, steps + 1)
    with torch.inference_mode(), autocast(device):
        for s, r in zip(times, times[1:], strict=False):
            (a, b), (a_next, b_next) = noise_level(s), noise_level(r)
            pairs = torch.cat([x, y], 1)
            clean = torch.cat(
                [_answer(model, p[None].to(device), float(s), None).cpu() for p in pairs]
            )
            fresh = eta * b_next / b * (1 - (a / a_next) ** 2).clamp_min(0).sqrt()
            along = (b_next**2 - fresh**2).clamp_min(0).sqrt() * (x - a * clean) / b
            x = a_next * clean + along + fresh * torch.randn(y.shape, generator=rng)
    return x.clamp(-1, 1).numpy().reshape(image.shape)


def _checked(image: np.ndarray, steps: int, stop: int | None = None) -> np.ndarray:
    image = check_grey(image)
    if steps < 1 or stop is not None and not 1 <= stop <= steps:
        raise ValueError(f"steps={steps} and stop={stop}: take 1 or more, and stop up to steps")
    return image


def _answer(model: nn.Module, x: Tensor, t: float, tile: int | None) -> Tensor:
    """F(x, t) of one slice of any size."""
    time = torch.tensor([t], device=x.device)
    high, wide = x.shape[2:]
    if tile is None or tile >= max(high, wide):
        fill = [-n % model.multiple for n in (wide, high)]
        return model(_padded(x, (0, fill[0], 0, fill[1])), time)[..., :high, :wide].float()
    step, halo = -(-tile // model.multiple) * model.multiple, model.reach
    halo = -(-halo // model.multiple) * model.multiple
    out = torch.empty_like(x[:, :1])
    for top in range(0, high, step):
        for left in range(0, wide, step):
            a, b = max(0, top - halo), max(0, left - halo)
            square = x[..., a : top + step + halo, b : left + step + halo]
            fill = [-n % model.multiple for n in (square.shape[3], square.shape[2])]
            clean = model(_padded(square, (0, fill[0], 0, fill[1])), time)
            target = out[..., top : top + step, left : left + step]
            target.copy_(
                clean[..., top - a :, left - b :][..., : target.shape[2], : target.shape[3]]
            )
    return out


def _padded(x: Tensor, fill: tuple[int, int, int, int]) -> Tensor:
    return F.pad(x, fill, mode="replicate") if any(fill) else x
