"""A silicon anode in three states of charge, the object of the simulated tomography (SY5).

Dark particles of silicon suboxide lie in a brighter matrix of binder, carbon and electrolyte, below
the resolution (InDI, Fig. 1D). On charging they swell, crack at the surface, and a new dense phase
appears beside them (InDI, section on Fig. 3). One voxel is 50 nm wide. All of it is a function of
the seed, and a later state is the same material, stretched.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

PHASES = ["matrix", "particle", "dense phase", "crack"]
ATTENUATION = (0.65, 0.35, 0.22, 0.65)  # of each phase, relative; a crack holds electrolyte
GRAIN = 0.14  # sd of the texture of the matrix over the contrast of particle and matrix
GRAIN_SIZE = 5.0  # sigma of the texture, voxels
MOTTLE = 0.03  # the same inside of a particle
STRAIN = (0.0, 0.012, 0.024)  # of the electrode in each state T0, T1, T2
GROWTH = (1.0, 1.04, 1.09)  # of the radii
FADE = 1.5  # swollen particles stand out less: their contrast falls with this power of GROWTH
CRACKED = (0.0, 0.3, 0.6)  # share of the larger particles with a crack
DENSE = (0.0, 0.15, 0.5)  # spots of the dense phase per particle
RADIUS = (16.0, 0.65, 4.0, 48.0)  # log-normal: median and sigma; smallest and largest, voxels
FILLED = 0.42  # share of the volume that particles would fill if each found a place


@dataclass
class Particles:
    """Ellipsoids in the state T0; all lengths in voxels, all rows z, y, x."""

    centres: np.ndarray  # (n, 3)
    radii: np.ndarray  # (n,)
    shapes: np.ndarray  # (n, 3, 3): maps an offset to one of a ball
    turns: np.ndarray  # (n, 3, 3): a frame of each, its rows are unit vectors
    luck: np.ndarray  # (n, 3): uniform numbers that decide on crack, its depth and dense spots


def particles(seed: int, shape: tuple[int, ...]) -> Particles:
    """Place particles at random, the largest first, so that they do not overlap.

    Args:
        seed: Same seed and shape, same particles.
        shape: ``(D, H, W)`` in voxels; centres may lie a little outside.
    """
    rng = np.random.default_rng([seed, 1])
    median, sigma, low, high = RADIUS
    margin = high / 2
    volume = np.prod([n + 2 * margin for n in shape])
    wanted = np.clip(rng.lognormal(np.log(median), sigma, int(volume / 5e3) + 8), low, high)
    enough = np.searchsorted(np.cumsum(4.19 * wanted**3), FILLED * volume) + 1
    wanted = np.sort(wanted[:enough])[::-1]
    centres, radii, n = np.empty((len(wanted), 3)), np.empty(len(wanted)), 0
    for r in wanted:
        for _ in range(400):
            c = rng.uniform(-margin, np.array(shape) + margin)
            free = ((centres[:n] - c) ** 2).sum(1) > (radii[:n] + r + 3) ** 2
            if free.all():
                centres[n], radii[n] = c, r
                n += 1
                break
    turns = np.linalg.qr(rng.standard_normal((n, 3, 3)))[0]
    stretch = np.exp(rng.uniform(-0.22, 0.22, (n, 3, 1)))
    shapes = np.swapaxes(turns, 1, 2) @ (stretch * turns)
    return Particles(centres[:n], radii[:n], shapes, turns, rng.random((n, 3)))


def _carried(seed: int, shape: tuple[int, ...], sigma: float, strain: float) -> np.ndarray:
    """A smooth field of mean 0 and sd 1 that moves with the stretched material.

    It is made on every second voxel of T0 and interpolated.
    """
    coarse = tuple(n // 2 + 8 for n in shape)
    field = np.random.default_rng(seed).standard_normal(coarse, np.float32)
    field = gaussian_filter(field, sigma / 2, mode="wrap")
    field = (field - field.mean()) / field.std()
    step = 0.5 / (1 + strain)
    places = [
        (c - 1) / 2 + step * (np.arange(n) - (n - 1) / 2)
        for c, n in zip(coarse, shape, strict=True)
    ]
    return between(field, places)


def between(volume: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """Linear interpolation on a grid, one axis after the other.

    Args:
        volume: ``(D, H, W)``.
        places: Of the grid along each axis, in voxels; what is outside takes the nearest value.
    """
    for axis, place in enumerate(places):
        place = np.clip(place, 0, volume.shape[axis] - 1)
        low = np.minimum(place.astype(int), max(volume.shape[axis] - 2, 0))
        part = np.reshape(place - low, [-1 if k == axis else 1 for k in range(3)])
        high = np.minimum(low + 1, volume.shape[axis] - 1)
        first, second = (volume.take(k, axis) for k in (low, high))
        volume = first + part.astype(np.float32) * (second - first)
    return volume


def labels(seed: int, state: int, shape: tuple[int, ...]) -> np.ndarray:
    """The phases of a state: matrix, particle, dense phase, crack = 0, 1, 2, 3.

    Args:
        seed: Of the cell; states of one seed show the same particles.
        state: 0 pristine, 1 on the way, 2 charged.
        shape: ``(D, H, W)`` in voxels of 50 nm, at least 16 each.

    Returns:
        ``uint8`` labels of that shape.

    Raises:
        ValueError: if there is no such state, or the shape is too small.
    """
    shape = tuple(int(n) for n in shape)
    if state not in range(len(STRAIN)):
        raise ValueError(f"there is no state {state}: choose 0, 1 or 2")
    if len(shape) != 3 or min(shape) < 16:
        raise ValueError(f"an anode is a volume (D, H, W) of 16 voxels or more, not {shape}")
    found = particles(seed, shape)
    rough = 2.2 * _carried(seed * 10 + 1, shape, 8.0, STRAIN[state])
    out = np.zeros(shape, np.uint8)
    middle = (np.array(shape) - 1) / 2
    for i, (centre, radius) in enumerate(zip(found.centres, found.radii, strict=True)):
        centre = middle + (1 + STRAIN[state]) * (centre - middle)
        radius = radius * GROWTH[state]
        luck = found.luck[i]
        for part, offset in _box(centre, 1.35 * radius + 8, shape):
            ball = np.sqrt(sum(_along(offset, row) ** 2 for row in found.shapes[i]))
            inside = ball - radius + rough[part] * min(1.0, radius / 15) < 0
            out[part][inside] = 1
            if radius > 14 and luck[0] < CRACKED[state]:
                across, along = (_along(offset, row) for row in found.turns[i][:2])
                depth = (0.5 * luck[1] - 0.25) * radius
                width = 1.3 + luck[2]
                out[part][inside & (np.abs(across + rough[part]) < width) & (along > depth)] = 3
        for k in range(int(DENSE[state] * 2 + luck[2])):
            size = 4 + 5 * luck[(k + 1) % 3]
            place = centre + (radius + 0.4 * size) * found.turns[i][2 - k]
            for part, offset in _box(place, size, shape):
                far = np.sqrt(sum(_along(offset, row) ** 2 for row in np.eye(3)))
                spot = far + 0.5 * rough[part] < size
                out[part][spot & (out[part] == 0)] = 2
    return out


def _box(
    centre: np.ndarray, reach: float, shape: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, ...], list[np.ndarray]]]:
    """The part of a volume within ``reach`` of a place, and offsets z, y, x to it; or nothing."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, shape).astype(int)
    if (low < high).all():
        axes = [np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)]
        yield tuple(slice(a, b) for a, b in zip(low, high, strict=True)), axes


def _along(offset: list[np.ndarray], direction: np.ndarray) -> np.ndarray:
    """Offsets of a box along a direction, ``(D, H, W)`` float32."""
    z, y, x = (a * d for a, d in zip(offset, direction, strict=True))
    return z.astype(np.float32)[:, None, None] + (y[:, None] + x).astype(np.float32)


def grey(found: np.ndarray, seed: int, state: int) -> np.ndarray:
    """Attenuation of labelled voxels, with the texture of the matrix and of the particles.

    Args:
        found: Labels of :func:`labels`, of the same seed and state.

    Returns:
        ``float32`` relative attenuation of the same shape.
    """
    contrast = ATTENUATION[0] - ATTENUATION[1]
    values = np.array(ATTENUATION, np.float32)
    values[1] = values[0] - contrast * GROWTH[state] ** -FADE
    out = values[found]
    texture = _carried(seed * 10 + 2, found.shape, GRAIN_SIZE, STRAIN[state])
    weights = np.array([GRAIN, MOTTLE, MOTTLE, GRAIN], np.float32) * contrast
    out += weights[found] * texture
    return out
