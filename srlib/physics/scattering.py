"""What small-angle scattering says of a volume, as a measurement and as a loss (FIB-SEM, Intro)."""

import torch
from torch import Tensor


def scattering(volume: Tensor, bins: int = 40) -> tuple[Tensor, Tensor]:
    r"""Intensity scattered by a volume, averaged over directions.

    .. math:: I(q) = \frac{1}{N}\,\big\langle |\mathcal F[w\,(\rho - \bar\rho)](\mathbf q)|^2
              \big\rangle_{|\mathbf q| = q}

    with a Hann window w along each axis, because the volume ends somewhere. Differentiable.

    Args:
        volume: Density or grey values, ``(D, H, W)``.
        bins: Shells of q, evenly spaced on a logarithm from two waves in the shortest edge to half
            a wave in a voxel.

    Returns:
        q in radians per voxel and I, ``(bins,)`` each; I is NaN where a shell is empty.
    """
    if volume.ndim != 3 or min(volume.shape) < 16:
        raise ValueError(f"a volume is (D, H, W) of 16 or more, not {tuple(volume.shape)}")
    windows = [torch.hann_window(n, device=volume.device) for n in volume.shape]
    window = windows[0][:, None, None] * windows[1][:, None] * windows[2]
    weighted = (volume - volume.mean()) * window
    power = torch.fft.rfftn(weighted).abs().square() / window.square().sum()
    waves = [2 * torch.pi * torch.fft.fftfreq(n, device=volume.device) for n in volume.shape[:2]]
    last = 2 * torch.pi * torch.fft.rfftfreq(volume.shape[2], device=volume.device)
    q = (waves[0][:, None, None] ** 2 + waves[1][:, None] ** 2 + last**2).sqrt()
    ends = torch.logspace(
        torch.log10(torch.tensor(4 * torch.pi / min(volume.shape))).item(),
        torch.log10(torch.tensor(torch.pi)).item(),
        bins + 1,
        device=volume.device,
    )
    number = torch.bucketize(q.reshape(-1), ends) - 1
    inside = (number >= 0) & (number < bins)
    number, values = number[inside], power.reshape(-1)[inside]
    sums = torch.zeros(bins, device=volume.device).index_add(0, number, values)
    counts = torch.bincount(number, minlength=bins)
    return (ends[:-1] * ends[1:]).sqrt(), sums / counts
