"""Noise that depends on seed and position alone."""

import numpy as np
from scipy.special import ndtri


def _scramble(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers without visible pattern (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def position_noise(
    seed: int,
    channels: int,
    start: tuple[int, int, int],
    shape: tuple[int, int, int],
    period: tuple[int, int, int] | None = None,
    uniform: bool = False,
) -> np.ndarray:
    """Noise of mean 0 and variance 1 that depends on seed, channel and position only.

    Args:
        seed: Another seed, another noise field.
        channels: Number of channels C.
        start: Position (z, y, x) of the first voxel.
        shape: Size (D, H, W) of the part to make.
        period: Repeat after so many voxels along each axis (SuperRes, section 4.1).
        uniform: Uniform between plus and minus the root of 3, several times faster than normal.

    Returns:
        ``float32`` ``(C, D, H, W)``.
    """
    key = np.arange(channels, dtype=np.uint64).reshape(-1, 1, 1, 1)
    key = _scramble(key + _scramble(np.uint64([int(seed) % 2**63]) + np.uint64(1)))
    for axis, (first, n) in enumerate(zip(start, shape, strict=True)):
        index = np.arange(first, first + n)
        index = (index % period[axis] if period else index).astype(np.uint64)
        index = index.reshape([-1 if a == axis + 1 else 1 for a in range(4)])
        key = _scramble(key + _scramble(index + np.uint64(0x9E3779B97F4A7C15)))
    if uniform:
        return ((key >> np.uint64(40)).astype(np.float32) - 2**23) * np.float32(3**0.5 / 2**23)
    return ndtri(((key >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52).astype(np.float32)
