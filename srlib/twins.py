"""Synthetic twins of the materials: same statistics as the real files, with a full 3D truth.

Each phase is a local function of smooth Gaussian random fields. A plane through a 3D Gaussian
field with a Gaussian covariance is a 2D one, so an *independent* image of the same material costs
no volume. Fields are periodic, with mean 0 and variance 1 exactly, so that images and volumes of
any size have nearly the same volume fractions.
"""

from math import cos, pi, sin

import numpy as np
from scipy.ndimage import gaussian_filter


def _field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape, dtype=np.float32)
    out = gaussian_filter(noise, sigma, mode="wrap")
    return (out - out.mean()) / out.std()


def _check(shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(int(n) for n in shape)
    if len(shape) not in (2, 3) or min(shape) < 8:
        raise ValueError(f"a twin is a (H, W) image or (D, H, W) volume of 8 or more, not {shape}")
    return shape


def sofc(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A fuel-cell anode: pore, nickel, ceramic = 0, 1, 2 at about 0.36/0.33/0.31.

    Mean chords of 10 to 11 voxels and 0.0099 triple-phase edges per voxel edge (SuperRes, section
    2.3: 0.01087 with a spread of 0.00121 over cubes of 64). Two fields are coordinates in a
    honeycomb of three colours, which has more triple points than independent fields. Its origin is
    a corner of three cells, so the phases are alike and all three percolate.

    Args:
        seed: Same seed and shape, same labels.
        shape: ``(D, H, W)`` for a volume or ``(H, W)`` for one image of the material.

    Returns:
        ``uint8`` labels of that shape.
    """
    shape, rng = _check(shape), np.random.default_rng(seed)
    f0, f1 = (_field(shape, 7.2, rng) + 0.055 * _field(shape, 1.2, rng) for _ in range(2))
    best, labels = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    for phase, bias in enumerate((0.16, 0.0, -0.13)):
        wave = np.full(shape, bias, np.float32)
        for turn in (0, 1 / 3, 2 / 3):
            along = cos(2 * pi * turn) * f0 + sin(2 * pi * turn) * f1
            wave += np.cos(2 * pi * (along / 2.4 + phase / 3 + turn))
        labels[wave > best] = phase
        np.maximum(best, wave, out=best)
    return labels


def cathode(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A battery cathode: pore, active material, binder = 0, 1, 2 at about 0.47/0.42/0.11.

    400 nm voxels; mean chord of the active material 16 to 20 voxels. Binder is a web of sheets two
    or three voxels thick on the particles and between them, which hardly conducts (SuperRes,
    section 2.4, quotes 0.111 and a transport efficiency of 0.008 for the cathode it used).

    Args:
        seed: Same seed and shape, same labels.
        shape: ``(D, H, W)`` for a volume or ``(H, W)`` for one image of the material.

    Returns:
        ``uint8`` labels of that shape.
    """
    shape, rng = _check(shape), np.random.default_rng(seed)
    particles, sheets = _field(shape, 4.8, rng), np.abs(_field(shape, 1.9, rng))
    labels = np.zeros(shape, np.uint8)
    labels[0.615 * np.exp(-2 * (particles - 0.2) ** 2) > sheets] = 2
    labels[particles > 0.2] = 1
    return labels
