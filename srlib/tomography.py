"""From an object to its tomogram: projections with their faults, and filtered back-projection.

A parallel beam, one slice at a time, with Joseph's projector: libraries that have one bring
hundreds of megabytes for graphics cards with them, or take ten times as long. The
chain is the paper's in simpler form (InDI, "Data reconstruction and processing"): photons are
counted, a phase retrieval smooths the projections, rings are reduced, and slices are reconstructed.
The four propagation distances and the cone of the beam are left out.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy.ndimage import gaussian_filter1d, zoom

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


def _threads(work: Callable, items: list) -> list:
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
    return _line_integrals(inside, np.linspace(0, np.pi, angles, endpoint=False), width)


@njit(parallel=True, fastmath=True, cache=True)
def _line_integrals(volume, turn, width):
    """Along each ray, one sample in each row (or column) that it crosses, linear between pixels."""
    deep, n, _ = volume.shape
    middle = (n - 1) / 2
    out = np.zeros((deep, len(turn), width), np.float32)
    for task in prange(deep * len(turn)):
        k, a = task // len(turn), task % len(turn)
        along, across = np.cos(turn[a]), -np.sin(turn[a])  # the ray is along*x + across*y = s
        steep = abs(along) >= abs(across)
        big, small = (along, across) if steep else (across, along)
        for u in range(width):
            s, total = u - (width - 1) / 2, 0.0
            for i in range(n):
                place = (s - (i - middle) * small) / big + middle
                j = int(np.floor(place))
                if 0 <= j < n - 1:
                    part = place - j
                    if steep:
                        total += (1 - part) * volume[k, i, j] + part * volume[k, i, j + 1]
                    else:
                        total += (1 - part) * volume[k, j, i] + part * volume[k, j + 1, i]
            out[k, a, u] = total / abs(big)
    return out


@njit(parallel=True, fastmath=True, cache=True)
def _back_projection(lines, turn, width):
    deep, angles, columns = lines.shape
    middle, axis = (width - 1) / 2, (columns - 1) / 2
    out = np.zeros((deep, width, width), np.float32)
    for task in prange(deep * width):
        k, i = task // width, task % width
        row = np.zeros(width, np.float32)
        for a in range(angles):
            along, across = np.cos(turn[a]), -np.sin(turn[a])
            first = (i - middle) * across - middle * along + axis
            for j in range(width):
                place = first + j * along
                u = int(np.floor(place))
                if 0 <= u < columns - 1:
                    part = place - u
                    row[j] += (1 - part) * lines[k, a, u] + part * lines[k, a, u + 1]
        out[k, i] = row
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
    field = zoom(coarse, [n / m for n, m in zip(volume.shape, coarse.shape, strict=True)], order=3)
    return volume + (drift * contrast * field / coarse.std()).astype(np.float32)


def without_rings(lines: np.ndarray) -> np.ndarray:
    """Projections of which the stripes are reduced by sorting (Vo et al. 2018, algorithm 3).

    What is constant along the angles is the error of a detector column, or a ring of the sample;
    see :func:`algotom.prep.removal.remove_stripe_based_sorting`. Broad stripes stay in part.
    """
    from algotom.prep.removal import remove_stripe_based_sorting as sort

    size = max(5, lines.shape[2] // 10)
    return np.stack(_threads(lambda s: sort(s, size=size).astype(np.float32), list(lines)))


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
    return _back_projection(filtered, turn, width) * np.float32(
        np.pi / angles * (n or columns) / depth
    )
