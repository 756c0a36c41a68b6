"""Synthetic twins of the materials: same statistics as the real files, with a full 3D truth.

Each phase is a local function of smooth Gaussian random fields. A plane through a 3D Gaussian
field with a Gaussian covariance is a 2D one, so an *independent* image of the same material costs
no volume. Fields are periodic, with mean 0 and variance 1 exactly, so that images and volumes of
any size have nearly the same volume fractions.
"""

from collections.abc import Sequence
from math import cos, log, pi, sin

import numpy as np
from scipy.ndimage import (
    binary_opening,
    distance_transform_edt,
    gaussian_filter,
    gaussian_filter1d,
    zoom,
)
from scipy.special import ndtri


def field(
    shape: tuple[int, ...], sigma: float | Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """A smooth Gaussian random field of mean 0 and variance 1; sigma in voxels, or one an axis."""
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

    Example:
        >>> from srlib import metrics
        >>> from srlib.synthetic import microstructures
        >>> labels = microstructures.sofc(seed=0, shape=(64, 64, 64))
        >>> metrics.volume_fractions(labels).round(1).tolist()
        [0.4, 0.3, 0.3]
    """
    shape, rng = _check(shape), np.random.default_rng(seed)
    f0, f1 = (field(shape, 7.2, rng) + 0.055 * field(shape, 1.2, rng) for _ in range(2))
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
    particles, sheets = field(shape, 4.8, rng), np.abs(field(shape, 1.9, rng))
    labels = np.zeros(shape, np.uint8)
    labels[0.615 * np.exp(-2 * (particles - 0.2) ** 2) > sheets] = 2
    labels[particles > 0.2] = 1
    return labels


def separator(seed: int, shape: tuple[int, ...], fibrils: bool = True) -> np.ndarray:
    """A battery separator: pore, solid = 0, 1; lamellae across axis 2, bridged by fibrils along it.

    Lamellae fill 0.379, with mean chords of 13 voxels along axis 2 and 43 across. Fibrils, one to
    three voxels thick, add 0.075 (MATRIX SY2; SuperRes, section 2.2).

    Args:
        seed: Same seed and shape, same labels.
        shape: ``(D, H, W)``.
        fibrils: False for the lamellae alone, of the same seed: what a weaker microscope sees.

    Returns:
        ``uint8`` labels of that shape.
    """
    labels = separator_parts(seed, shape) if fibrils else _lamellae(seed, shape)[0]
    return (labels > 0).astype(np.uint8)


def separator_parts(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """The volume of :func:`separator` with its parts told apart: pore, lamella, fibril = 0, 1, 2.

    Args:
        seed: Same seed and shape, same labels.
        shape: ``(D, H, W)``.

    Returns:
        ``uint8`` labels of that shape; a fibril inside a lamella is lamella.
    """
    labels, rng = _lamellae(seed, shape)
    labels[(field(labels.shape, (1.1, 1.1, 30.0), rng) > 1.17) & (labels == 0)] = 2
    return labels


def _lamellae(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.random.Generator]:
    shape, rng = _check(shape), np.random.default_rng(seed)
    if len(shape) != 3:
        raise ValueError(
            f"a separator is a volume (D, H, W), not {shape}: take its faces as images"
        )
    return (field(shape, (12.2, 12.2, 3.68), rng) > 0.308).astype(np.uint8), rng


def composite(seed: int, shape: tuple[int, ...], active: float = 0.4) -> np.ndarray:
    """A cathode at 50 nm: pore, active material, binder = 0, 1, 2, the latter a fine sponge.

    Mean chord of the active material 130 to 170 voxels; around it about two thirds binder with
    pores of one to three voxels, and larger pores near the particles (SuperRes, section 2.4).

    Args:
        seed: Same seed and shape, same labels.
        shape: ``(D, H, W)`` for a volume or ``(H, W)`` for one image of the material.
        active: Share of active material, 0 to 1: 0.40 in the coarse volume, 0.58 in the image.

    Returns:
        ``uint8`` labels of that shape.
    """
    shape, rng = _check(shape), np.random.default_rng(seed)
    if not 0.05 <= active <= 0.95:
        raise ValueError(f"active must be between 0.05 and 0.95, not {active}")
    particles = _wide_field(shape, 40, rng)
    edge = float(ndtri(1 - active))
    sponge, gaps = field(shape, 1.1, rng), _wide_field(shape, 9, rng)
    near = np.exp(-(((edge - particles) / 0.35) ** 2))  # 1 at a particle, 0 far from it
    labels = np.full(shape, 2, np.uint8)
    labels[(gaps + 0.6 * near > 1.45) | (sponge > 1.05)] = 0
    labels[particles > edge] = 1
    return labels


def _wide_field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth field, made on every fourth voxel and interpolated."""
    coarse = field(tuple(-(-n // 4) + 1 for n in shape), sigma / 4, rng)
    out = zoom(coarse, 4, order=1)[tuple(slice(n) for n in shape)]
    return (out - out.mean()) / out.std()


def scatter(labels: np.ndarray, phase: int, share: float, size: float, seed: int) -> np.ndarray:
    """Add a phase to the pores as balls at random places, which may overlap.

    That is how binder was added to scans before: by its statistics alone (SuperRes, section 2.4).

    Args:
        labels: Phases with pore = 0, 2D or 3D.
        phase: Label of the balls.
        share: Share of all voxels that they fill, exactly; less than the share of pore.
        size: Diameter of a ball in voxels, about.
        seed: Same seed, same balls.

    Returns:
        ``uint8`` labels: ``labels`` with balls in place of pore.

    Raises:
        ValueError: if there are not as many pore voxels.
    """
    pore = labels == 0
    if not 0 < share < pore.mean():
        raise ValueError(f"share must be between 0 and that of pore, {pore.mean():.3g}: {share}")
    filled, rng = share / pore.mean(), np.random.default_rng(seed)
    ball = pi * size**2 / 4 if labels.ndim == 2 else pi * size**3 / 6
    count = max(1, round(-log(1 - filled) * labels.size / ball))  # they overlap
    away = np.ones(labels.shape, bool)
    away.flat[rng.integers(0, labels.size, count)] = False
    distance = distance_transform_edt(away) + 1e-3 * rng.random(labels.shape, np.float32)
    near = distance <= np.quantile(distance[pore], filled)
    return np.where(pore & near, phase, labels).astype(np.uint8)


def sem(
    labels: np.ndarray,
    seed: int,
    *,
    greys: tuple[float, float, float] = (0.15, 0.75, 0.45),
    noise: float = 0.05,
    curtains: float = 0.5,
    backs: float = 0.25,
) -> np.ndarray:
    """An electron-microscope image of a cut through a cathode, with its two artefacts.

    *Curtains*: the ion beam that polished the cut leaves vertical streaks, darker towards the
    lower right corner. *Pore backs*: material behind a wide pore shines through, nearly as bright
    as binder (SuperRes, section 2.4 and Fig. 16).

    Args:
        labels: Pore, active material, binder = 0, 1, 2, shape ``(H, W)``.
        seed: Same seed and labels, same image.
        greys: Grey value of each phase, 0 to 1.
        noise: Standard deviation of the grey values in one phase.
        curtains: Share of its brightness that the darkest streak takes, 0 for none.
        backs: Share of the wide pores (5 pixels or more) that show what is behind, 0 for none.

    Returns:
        ``float32`` grey values in [0, 1], shape ``(H, W)``.

    Raises:
        ValueError: for other phases, more dimensions, or a number outside its range.
    """
    if labels.ndim != 2 or labels.max() > 2:
        raise ValueError("an image needs labels (H, W) of pore, active material, binder = 0, 1, 2")
    if not (0 <= curtains <= 1 and 0 <= backs <= 1 and noise >= 0):
        raise ValueError("curtains and backs must be from 0 to 1, and noise 0 or more")
    rng, (rows, columns) = np.random.default_rng(seed), labels.shape
    image = np.asarray(greys, np.float32)[labels]
    wide = binary_opening(labels == 0, np.ones((5, 5)))
    behind = field(labels.shape, 4, rng)
    image[wide & (behind > ndtri(1 - backs))] = 0.95 * greys[2]
    image = gaussian_filter(image, 0.6)
    line = gaussian_filter1d(rng.standard_normal(columns), 1.5, mode="wrap")
    line = np.clip(line / line.std(), 0, 2) / 2  # half of the columns are streaked
    down, right = np.linspace(0, 1, rows)[:, None], np.linspace(0, 1, columns)
    image *= 1 - curtains * line * np.clip(2 * (down + right) - 2.4, 0, 1)
    image += noise * rng.standard_normal(labels.shape)
    return np.clip(image, 0, 1).astype(np.float32)
