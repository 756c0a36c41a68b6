"""Imaging physics: what a coarse microscope sees of a fine structure.

Every operator here acts along one axis at a time (a Gaussian and a trilinear filter are both
products of 1D filters), so it is a small matrix applied to z, then y, then x.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MODES = ("blur", "nearest")
LARGEST = 10  # scale factor
DENOMINATOR = 64  # of a scale factor, at most: so many coarse voxels are whole fine ones


def exact_scale(scale_factor: float | Fraction) -> Fraction:
    """The scale factor as the fraction that it stands for.

    Args:
        scale_factor: Fine voxels per coarse voxel edge, from 1 to 10: a fraction whose denominator
            is at most 64, so 3, 2.5, 1.6 and the 57 numbers 64/d of SuperRes, section 3. A float
            within 1e-6 of such a fraction will do.

    Raises:
        ValueError: if it is none of those numbers.

    Example:
        >>> from srlib.physics.downsampling import exact_scale
        >>> exact_scale(1.6), exact_scale(3)
        (Fraction(8, 5), Fraction(3, 1))
    """
    try:
        value = float(scale_factor)
        near = nearest_scale(value)
    except (TypeError, ValueError, OverflowError):
        value, near = 0.0, Fraction(1)
    if not abs(near - value) <= 1e-6 * near:
        advice = near if 1 <= value <= LARGEST else "such as 4, 2.5 or 1.6"
        raise ValueError(
            f"scale factor {scale_factor!r} is no fraction from 1 to {LARGEST} with a denominator "
            f"of at most {DENOMINATOR}: choose one, {advice}"
        )
    return near


def nearest_scale(ratio: float, within: float = 0.0) -> Fraction:
    """The scale factor next to a ratio of voxel sizes.

    Args:
        ratio: Any number.
        within: Relative error that a smaller denominator may bring: tiles and volumes are multiples
            of it.
    """
    inside = min(max(ratio, 1), LARGEST)
    tried = (Fraction(inside).limit_denominator(2**k) for k in range(6))
    near = (found for found in tried if abs(found - inside) <= within * inside)
    return next(near, Fraction(inside).limit_denominator(DENOMINATOR))


def coarse_size(n: int, scale_factor: float | Fraction) -> int:
    """Coarse voxels along an edge of ``n`` fine voxels; exact, no rounding.

    Raises:
        ValueError: if ``n`` fine voxels are not a whole number of coarse ones.
    """
    scale = exact_scale(scale_factor)
    size = n / scale
    if size.denominator != 1 or size < 1:
        fit = int(n // scale.numerator * scale.numerator)
        hint = f"crop it to {fit}" if fit else f"use at least {scale.numerator} voxels"
        raise ValueError(
            f"an edge of {n} voxels is not a whole number of coarse voxels at scale factor "
            f"{float(scale):g}: {hint}"
        )
    return int(size)


def kernel_size(scale_factor: float | Fraction) -> int:
    """Edge k of the blur kernel: the odd one of ceil(sf) and ceil(sf) - 1 (SuperRes, section 3)."""
    k = ceil(exact_scale(scale_factor))
    return k if k % 2 else k - 1


def _gaussian_1d(scale_factor: float | Fraction, sigma: float | None, size: int | None) -> Tensor:
    k = kernel_size(scale_factor) if size is None else size
    if k < 1 or k % 2 == 0:
        raise ValueError(f"the blur kernel needs an odd size of at least 1, not {k}")
    sigma = 0.3 * ((k - 1) * 0.5 - 1) + 0.8 if sigma is None else float(sigma)
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, not {sigma}: for no blur use mode='nearest'")
    x = torch.arange(k, dtype=torch.float64) - (k - 1) / 2
    g = torch.exp(-0.5 * (x / sigma) ** 2)
    return g / g.sum()


def gaussian_kernel(
    scale_factor: float | Fraction, sigma: float | None = None, size: int | None = None
) -> Tensor:
    r"""Blur kernel, shape ``(k, k, k)``, sum 1 (SuperRes, section 3).

    .. math:: k = \lceil s\rceil \text{ if odd, else } \lceil s\rceil - 1, \qquad
              \sigma = 0.3\,(0.5\,(k-1) - 1) + 0.8

    At a scale factor of 2 or less k is 1: there is no blur.

    Args:
        scale_factor: Fine voxels per coarse voxel edge.
        sigma: Standard deviation in fine voxels; ``None`` for the equation. Very large: binning.
        size: Odd edge k in fine voxels; ``None`` for the equation.
    """
    g = _gaussian_1d(scale_factor, sigma, size)
    return torch.einsum("i,j,k->ijk", g, g, g).float()


def _pick(n_coarse: int, scale: Fraction, offset: str) -> list[int]:
    if offset not in ("corner", "centre"):
        raise ValueError(f"offset must be 'corner' or 'centre', not {offset!r}")
    shift = Fraction(0) if offset == "corner" else Fraction(1, 2)
    return [int((i + shift) * scale) for i in range(n_coarse)]


@lru_cache(maxsize=64)
def _axis_matrix(n: int, scale: Fraction, sigma: float | None, size: int | None) -> Tensor:
    """Blur, then linear interpolation, as one ``(n_coarse, n)`` matrix; edges replicated."""
    g = _gaussian_1d(scale, sigma, size)
    half = len(g) // 2
    eye = F.pad(torch.eye(n, dtype=torch.float64)[None], (half, half), mode="replicate")
    blurred = F.conv1d(eye.transpose(0, 1), g[None, None])  # row j: response to a spike at j
    coarse = F.interpolate(blurred, size=coarse_size(n, scale), mode="linear", align_corners=False)
    return coarse[:, 0].T.float().contiguous()


def block_weights(
    scale_factor: float | Fraction, sigma: float | None = None, size: int | None = None
) -> Tensor:
    """Weights of the fine voxels along one axis that make one coarse voxel; sum 1.

    At scale factor 4 it is 0.1195, 0.3805, 0.3805, 0.1195; at 2 it is 0.5, 0.5 (plain binning).
    """
    n = 9 * exact_scale(scale_factor).numerator
    matrix = _axis_matrix(n, exact_scale(scale_factor), sigma, size)
    row = matrix[len(matrix) // 2]
    return row[row > 0]


def downsample(
    x: Tensor,
    scale_factor: float | Fraction,
    mode: str = "blur",
    *,
    sigma: float | None = None,
    size: int | None = None,
    offset: str = "corner",
) -> Tensor:
    """Bring a fine volume to the coarse grid, differentiably (SuperRes, section 3).

    ``"blur"`` is an under-resolved image: a Gaussian, then trilinear interpolation.
    ``"nearest"`` is an under-sampled one: single fine voxels at the sampling interval, no blur.

    Args:
        x: Shape ``(B, C, D, H, W)``; phase probabilities or grey values.
        scale_factor: Fine voxels per coarse voxel edge.
        mode: ``"blur"`` or ``"nearest"``.
        sigma: Blur in fine voxels, ``None`` for the paper's.
        size: Odd edge of the blur kernel, ``None`` for the paper's.
        offset: For ``"nearest"``: ``"corner"`` keeps fine voxels 0, s, 2s ...; ``"centre"`` those
            in the middle of each block.

    Returns:
        Shape ``(B, C, D/s, H/s, W/s)``.

    Raises:
        ValueError: for another number of dimensions, mode, or an edge that s does not divide.

    Example:
        >>> import torch
        >>> from srlib.physics.downsampling import downsample
        >>> fine = torch.arange(8.0).expand(1, 1, 8, 8, 8)
        >>> downsample(fine, 4, "nearest")[0, 0, 0, 0].tolist()
        [0.0, 4.0]
        >>> downsample(fine, 2)[0, 0, 0, 0].tolist()  # binning
        [0.5, 2.5, 4.5, 6.5]
    """
    if x.ndim != 5:
        raise ValueError(f"downsample wants (B, C, D, H, W), not {x.ndim} dimensions: add the rest")
    if mode not in MODES:
        raise ValueError(f"mode must be 'blur' or 'nearest', not {mode!r}")
    if mode == "blur" and not x.is_floating_point():
        raise ValueError(f"labels ({x.dtype}) cannot be blurred: use srlib.data.one_hot first")
    scale = exact_scale(scale_factor)
    sizes = [coarse_size(n, scale) for n in x.shape[2:]]
    for axis, (n, out) in enumerate(zip(x.shape[2:], sizes, strict=True), start=2):
        if mode == "nearest":
            x = x.index_select(axis, torch.tensor(_pick(out, scale, offset), device=x.device))
        else:
            matrix = _axis_matrix(n, scale, sigma, size).to(x)
            x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.T, -1, axis)
    return x


def simulate_lr(
    labels: np.ndarray,
    scale_factor: float | Fraction,
    phase: int,
    *,
    sigma: float | None = None,
    size: int | None = None,
) -> dict[str, np.ndarray]:
    """Make the low-resolution volume that a weaker microscope would give (SuperRes, Fig. 12).

    Args:
        labels: Fine phases, ``(D, H, W)``.
        scale_factor: Fine voxels per coarse voxel edge.
        phase: The one phase with contrast; all others are background.

    Returns:
        The five panels: ``original``, ``chosen`` (0 or 1), ``blurred`` (0..1, fine grid),
        ``downsampled`` (0..1, coarse grid) and ``lr`` (``uint8`` 0 or 1, threshold 0.5).

    Example:
        >>> import numpy as np
        >>> from srlib.physics.downsampling import simulate_lr
        >>> labels = np.zeros((8, 8, 8), np.uint8)
        >>> labels[:, :, 4:] = 2
        >>> simulate_lr(labels, 4, phase=2)["lr"][0].tolist()
        [[0, 1], [0, 1]]
    """
    if labels.ndim != 3:
        raise ValueError(f"labels must be a (D, H, W) volume, not {labels.ndim}D")
    chosen = labels == phase
    if not chosen.any():
        raise ValueError(f"phase {phase} does not occur in the volume: it has {np.unique(labels)}")
    grey = torch.from_numpy(chosen.astype(np.float32))[None, None]
    kernel = gaussian_kernel(scale_factor, sigma, size)
    padded = F.pad(grey, (len(kernel) // 2,) * 6, mode="replicate")
    blurred = F.conv3d(padded, kernel[None, None])
    coarse = downsample(grey, scale_factor, "blur", sigma=sigma, size=size)[0, 0].numpy()
    return {
        "original": labels,
        "chosen": chosen.astype(np.uint8),
        "blurred": blurred[0, 0].numpy(),
        "downsampled": coarse,
        "lr": (coarse > 0.5).astype(np.uint8),
    }
