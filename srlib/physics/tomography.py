"""From an object to its tomogram: projections with their faults, and filtered back-projection.

A parallel beam, one slice at a time, with Joseph's projector: libraries that have one bring
hundreds of megabytes for graphics cards with them, or take ten times as long. The
chain is the paper's in simpler form (InDI, "Data reconstruction and processing"): photons are
counted, a phase retrieval smooths the projections, rings are reduced, and slices are reconstructed.
The four propagation distances and the cone of the beam are left out.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter1d, median_filter, zoom

SLAB, ROWS = 16, 16  # slices worked on at once, and rows of them, for speed alone
DEEP = 1.2  # absorption exponent along the diameter of a sample of the matrix alone


@dataclass(frozen=True)
class Scanner:
    """What a scan is made of.

    Attributes:
        angles: Projections over half a turn.
        photons: Counts in a detector pixel of the open beam.
        blur: Sigma of the low pass of the phase retrieval, after counting, detector pixels.
        gain: Sd of the errors of those detector pixels that have one, of the logarithm of counts.
        faulty: Share of detector columns with an error, which becomes a ring.
        drift: Sd of the slow brightness drift in the tomogram over the contrast of the object.
        optics: Sigma of scintillator and lens, before counting, detector pixels.
    """

    angles: int
    photons: float
    blur: float
    gain: float
    faulty: float = 0.25
    drift: float = 0.05
    optics: float = 0.0


def _threads(work: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


def project(volume: np.ndarray, angles: int, width: int, depth: float = DEEP) -> np.ndarray:
    """Line integrals of every slice over half a turn.

    Args:
        volume: Relative attenuation, ``(D, N, N)``; what lies outside of the inscribed circle is
            not in the beam's way.
        angles: Number of projections.
        width: Detector columns, one voxel wide, centred on the axis; fewer than N see the inner
            part of the sample only.
        depth: Exponent of a path of N voxels of attenuation 1, without a unit.

    Returns:
        ``(D, angles, width)`` float32.

    Raises:
        ValueError: if slices are not square.
    """
    if volume.ndim != 3 or volume.shape[1] != volume.shape[2]:
        raise ValueError(f"a sample has square slices (D, N, N), not {volume.shape}")
    n = volume.shape[1]
    disc = np.hypot(*np.mgrid[:n, :n] - (n - 1) / 2) <= n / 2
    inside = (volume * disc * np.float32(depth / n)).astype(np.float32)
    turn = np.linspace(0, np.pi, angles, endpoint=False)
    return _by_slabs(_line_integrals, inside, turn, width)


def _by_slabs(kernel: Callable, stack: np.ndarray, *how: Any) -> np.ndarray:
    """A kernel on a few slices at a time, which lie innermost so that it works on all at once."""

    def one(start: int) -> np.ndarray:
        slab = np.ascontiguousarray(np.moveaxis(stack[start : start + SLAB], 0, -1))
        return np.moveaxis(kernel(slab, *how), -1, 0).astype(np.float32)

    return np.concatenate(_threads(one, range(0, len(stack), SLAB)))


@njit(nogil=True, fastmath=True, cache=True)
def _line_integrals(volume: np.ndarray, turn: np.ndarray, width: int) -> np.ndarray:
    """Along each ray, one sample in each row (or column) that it crosses, linear between pixels."""
    n, _, deep = volume.shape
    middle = (n - 1) / 2
    turned = np.ascontiguousarray(volume.transpose(1, 0, 2))
    out = np.zeros((len(turn), width, deep))
    for begin in range(0, n, ROWS):  # a few rows of the volume at a time stay in the cache
        for a in range(len(turn)):
            along, across = np.cos(turn[a]), -np.sin(turn[a])  # along*x + across*y = s on the ray
            steep = abs(along) >= abs(across)
            big, small = (along, across) if steep else (across, along)
            rows, weight = volume if steep else turned, 1 / abs(big)
            for i in range(begin, min(begin + ROWS, n)):
                for u in range(width):
                    place = (u - (width - 1) / 2 - (i - middle) * small) / big + middle
                    j = int(np.floor(place))
                    if 0 <= j < n - 1:
                        far = (place - j) * weight
                        near = weight - far
                        for k in range(deep):
                            out[a, u, k] += near * rows[i, j, k] + far * rows[i, j + 1, k]
    return out


@njit(nogil=True, fastmath=True, cache=True)
def _back_projection(lines: np.ndarray, turn: np.ndarray, width: int) -> np.ndarray:
    angles, columns, deep = lines.shape
    middle, axis = (width - 1) / 2, (columns - 1) / 2
    out = np.zeros((width, width, deep), np.float32)
    for i in range(width):
        for a in range(angles):
            along, across = np.cos(turn[a]), -np.sin(turn[a])
            first = (i - middle) * across - middle * along + axis
            for j in range(width):
                place = first + j * along
                u = int(np.floor(place))
                if 0 <= u < columns - 1:
                    part = np.float32(place - u)
                    near = np.float32(1) - part
                    for k in range(deep):
                        out[i, j, k] += near * lines[a, u, k] + part * lines[a, u + 1, k]
    return out


def measure(lines: np.ndarray, scanner: Scanner, seed: int, detector: int = 0) -> np.ndarray:
    """Line integrals as the scanner sees them: counted, with errors of gain, and smoothed.

    Half a turn stands for a full one, folded: a column and its mirror image share their error, so
    that rings are closed. Gains are the same at all angles but fade by a fifth during the scan, and
    neighbouring rows of the detector have similar ones. ``seed`` is of the photons, ``detector``
    of the errors: scans with one detector have the same.
    """
    rng = np.random.default_rng([seed, 2])
    counts = rng.poisson(scanner.photons * _smoothed(np.exp(-lines), scanner.optics))
    out = -np.log(np.maximum(counts, 0.5) / scanner.photons).astype(np.float32)
    deep, angles, width = out.shape
    rng = np.random.default_rng([detector, 5])
    error = rng.standard_normal((deep, width))
    for row in range(1, deep):
        error[row] = 0.9 * error[row - 1] + np.sqrt(1 - 0.9**2) * error[row]
    error *= scanner.gain * (rng.random(width) < scanner.faulty)
    error = (error + error[:, ::-1]) / np.sqrt(2)
    fading = np.linspace(1, 0.8, angles)
    out += (error[:, None] * fading[:, None]).astype(np.float32)
    return _smoothed(out, scanner.blur)


def _smoothed(lines: np.ndarray, sigma: float) -> np.ndarray:
    """Projections blurred on the detector, along rows and columns."""
    for axis in (0, 2) if sigma else ():
        lines = gaussian_filter1d(lines, sigma, axis, mode="nearest", truncate=3)
    return lines


def drifted(volume: np.ndarray, contrast: float, drift: float, seed: int) -> np.ndarray:
    """A tomogram whose brightness drifts slowly from place to place, over a quarter of its edge."""
    coarse = np.random.default_rng([seed, 3]).standard_normal((3, 5, 5))
    field = zoomed((drift * contrast / coarse.std()) * coarse, volume.shape, 3)
    return volume + field.astype(np.float32)


def zoomed(coarse: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    """:func:`scipy.ndimage.zoom` of a small volume to a shape, one axis after the other: faster."""
    for axis, n in enumerate(shape):
        m = coarse.shape[axis]
        weights = zoom(np.eye(m), (n / m, 1), order=order)  # of each knot, at each place
        coarse = np.moveaxis(np.tensordot(weights, coarse, (1, axis)), 0, axis)
    return coarse


def without_rings(lines: np.ndarray) -> np.ndarray:
    """Projections of which the stripes are reduced by sorting (Vo et al. 2018, algorithm 3).

    What is constant along the angles is the error of a detector column, or a ring of the sample;
    as :func:`algotom.prep.removal.remove_stripe_based_sorting` does. Broad stripes stay in part.
    """
    size = max(5, lines.shape[2] // 10)

    def one(sinogram: np.ndarray) -> np.ndarray:
        order = np.argsort(sinogram, 0)
        level = np.take_along_axis(sinogram, order, 0)
        level = np.stack([median_filter(row, size) for row in level])  # much faster than in 2D
        out = np.empty_like(sinogram)
        np.put_along_axis(out, order, level, 0)
        return out

    return np.stack(_threads(one, list(lines)))


def reconstruct(lines: np.ndarray, width: int, depth: float = DEEP, n: int = 0) -> np.ndarray:
    """Filtered back-projection with the ramp filter, slice by slice.

    Args:
        lines: ``(D, angles, columns)`` over half a turn; they are continued by their last value,
            which stands for what a scan of the inner part does not see.
        width: Voxels of the edge of a reconstructed slice.
        depth, n: As in :func:`project`, with the N of the sample (``columns`` if 0).

    Returns:
        Relative attenuation, ``(D, width, width)`` float32.
    """
    _, angles, columns = lines.shape
    size = 2 ** int(np.ceil(np.log2(3 * columns)))
    place = np.fft.fftfreq(size, 1 / size)
    kernel = np.zeros(size)  # the ramp from its kernel in space, so that the mean is right
    odd = place % 2 == 1
    kernel[odd], kernel[0] = -1 / (np.pi * place[odd]) ** 2, 0.25
    ramp = np.fft.rfft(kernel).real.astype(np.float32)
    before = (size - columns) // 2

    def one(sinogram: np.ndarray) -> np.ndarray:
        wide = np.pad(sinogram, ((0, 0), (before, size - columns - before)), mode="edge")
        found = np.fft.irfft(np.fft.rfft(wide) * ramp, size)[:, before : before + columns]
        return found.astype(np.float32)

    filtered = np.stack(_threads(one, list(lines)))
    turn = np.linspace(0, np.pi, angles, endpoint=False)
    found = _by_slabs(_back_projection, filtered, turn, width)
    return found * np.float32(np.pi / angles * (n or columns) / depth)
