"""From two scans to pairs: grey limits, mask, the finer grid, registration, and parts to train on.

Slices are ``(H, W)`` and volumes ``(D, H, W)``; grey values of pairs are in [-1, 1] (InDI,
"Postprocessing" and "Training details").
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import spline_filter1d

from srlib import nanoct, register

BEYOND = 4  # slices at the end that a motion along the axis can take out of the scan
GAP = 15  # slices left out between two parts, so that no neighbour of a training slice is judged
PAD = 12  # voxels after which a cubic spline has forgotten its border
SOFTEN = 8.2  # sigma that makes a HQ scan as blurred as a LQ scan, voxels of 50 nm
TRUTH = (0.25, 0.75)  # attenuation that the grey values -1 and 1 of the truth stand for


@dataclass(eq=False)
class Pair:
    """Two scans of one field on one grid of 50 nm, grey values in [-1, 1].

    Attributes:
        lq: LQ scan on the fine grid, registered, ``(D, H, W)`` float32.
        hq: HQ scan.
        truth: What both show, without blur, noise and drift.
        labels: Phases of it, ``uint8``.
        mask: Where a slice counts, ``(H, W)`` bool.
        limits: Grey values of LQ that became -1 and 1; use them for later scans.
        residual: Median distance of the registration from the known motion, voxels.
    """

    lq: np.ndarray
    hq: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    limits: tuple[float, float]
    residual: float


def disc(n: int, share: float = 0.97) -> np.ndarray:
    """A circular mask ``(n, n)`` around the axis; its diameter is a share of the edge (IN-06)."""
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return np.hypot(y, x) <= share * n / 2


def limits(volume: np.ndarray, mask: np.ndarray, cut: float = 0.5) -> tuple[float, float]:
    """Percentiles of the grey values inside a mask of every slice: ``cut`` and ``100 - cut``."""
    seen = volume[..., mask]
    if not np.isfinite(seen).all():
        raise ValueError("the volume holds NaN or infinite values inside of the mask")
    low, high = np.percentile(seen, [cut, 100 - cut])
    if low == high:
        raise ValueError("the volume has one grey value only: there is nothing to scale")
    return float(low), float(high)


def scaled(volume: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Grey values with two limits at -1 and 1, and cut off there; float32."""
    low, high = bounds
    return np.clip(2 * (volume - low) / (high - low) - 1, -1, 1).astype(np.float32)


def equalised(volume: np.ndarray, mask: np.ndarray, bins: int = 4096) -> np.ndarray:
    """Histogram equalisation: grey values inside of the mask become uniform in [-1, 1] (IN-04).

    Which kind the paper uses is not said (GAP-30); this is the plain one, one curve for a volume.
    """
    counts, edges = np.histogram(volume[..., mask], bins)
    share = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return (2 * np.interp(volume, edges, share) - 1).astype(np.float32)


def unringed(volume: np.ndarray) -> np.ndarray:
    """Slices minus their mean on each circle around the axis, where rings are.

    For the registration only: it takes away a part of the sample as well, most near the axis.
    """
    y, x = np.indices(volume.shape[1:]) - (np.array(volume.shape[1:])[:, None, None] - 1) / 2
    ring = np.rint(np.hypot(y, x)).astype(int)
    count = np.maximum(np.bincount(ring.ravel()), 1)
    means = [np.bincount(ring.ravel(), plane.ravel()) / count for plane in volume]
    return (volume - np.stack(means)[:, ring]).astype(np.float32)


def upscaled(volume: np.ndarray, factor: int = 2) -> np.ndarray:
    """Bicubic interpolation on a grid ``factor`` times as fine, along every axis (IN-05).

    A fine voxel i has its centre at ``(i + 0.5) / factor - 0.5`` of the coarse grid.
    """
    for axis in range(volume.ndim):
        edge = [(PAD if k == axis else 0,) * 2 for k in range(volume.ndim)]
        spline = np.pad(volume.astype(np.float32), edge, mode="edge")
        spline = spline_filter1d(spline, 3, axis, np.float32, mode="nearest")
        spline, n = np.moveaxis(spline, axis, -1), volume.shape[axis]
        fine = np.empty((*spline.shape[:-1], n * factor), np.float32)
        for k in range(factor):
            place = (k + 0.5) / factor - 0.5 + PAD
            low, t = int(place), place % 1
            weights = [(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]
            taps = (spline[..., low - 1 + i : low - 1 + i + n] for i in range(4))
            fine[..., k::factor] = sum(
                np.float32(w / 6) * c for w, c in zip(weights, taps, strict=True)
            )
        volume = np.moveaxis(fine, -1, axis)
    return np.ascontiguousarray(volume)


def field(volume: np.ndarray) -> np.ndarray:
    """A LQ scan on the grid of 50 nm, in the field of the HQ scan alone."""
    cut = [max(n // 4 - PAD, 0) for n in volume.shape[1:]]
    part = volume[:, cut[0] : volume.shape[1] - cut[0], cut[1] : volume.shape[2] - cut[1]]
    h, w = (2 * (n // 4 - c) for n, c in zip(volume.shape[1:], cut, strict=True))
    fine = upscaled(part)
    return np.ascontiguousarray(fine[:, h : fine.shape[1] - h, w : fine.shape[2] - w])


def parts(deep: int, held: int = 10, gap: int = GAP, top: int = 0) -> dict[str, slice]:
    """Slices to train on, to choose with and to judge, in this order, with gaps (IN-09).

    The last four are left out: registered, they can lie beyond the last slice of the LQ scan. The
    second gap is so much smaller. Slices are counted from ``top`` on, of :func:`pair`.

    Raises:
        ValueError: if fewer than ``held`` slices are left for the training.
    """
    first = deep - 2 * held - 2 * gap
    if first < held:
        raise ValueError(f"{deep} slices are too few: take {3 * held + 2 * gap} or more")
    stop = first + gap + held
    found = {"train": (0, first), "choose": (first + gap, stop)}
    found["judge"] = (deep - BEYOND - held, deep - BEYOND)
    return {name: slice(max(a - top, 0), b - top) for name, (a, b) in found.items()}


def pair(
    state: nanoct.State, registered: bool = True, rings: bool = False, top: int = 0, **how
) -> Pair:
    """The pair of a state with a HQ scan: scaled, on one grid, registered.

    Args:
        state: Of :func:`srlib.nanoct.cell`.
        registered: False to leave the LQ scan where it is.
        rings: Use the LQ scan with its rings.
        top: First slice of the pair; fewer are registered in less time. Limits are those of all.
        how: Further arguments of :func:`srlib.register.register`.

    Raises:
        ValueError: if there is no HQ scan.
    """
    if state.hq is None:
        raise ValueError("this state has no HQ scan: make the cell with hq=True")
    mask = disc(state.hq.shape[-1])
    lq = field(state.lq_raw if rings else state.lq)
    bounds = limits(lq, mask)
    hq = scaled(state.hq, limits(state.hq, mask))[top:]
    lq, motion = lq[top:], state.motion[:, top:]
    everywhere = np.broadcast_to(mask, hq.shape)
    found = np.zeros_like(motion)
    if registered:
        found = _found(unringed(scaled(lq, bounds)), unringed(hq), everywhere, how)
        lq = register.apply(lq, found)
    away = register.residual(found, motion, everywhere)
    return Pair(
        lq=scaled(lq, bounds),
        hq=hq,
        truth=scaled(state.grey[top:], TRUTH),
        labels=nanoct.inner(state.labels)[top:].copy(),
        mask=mask,
        limits=bounds,
        residual=away,
    )


def _found(moving: np.ndarray, fixed: np.ndarray, mask: np.ndarray, how: dict) -> np.ndarray:
    """The registration of two scans, made once and then read from disk."""

    def make() -> dict[str, torch.Tensor]:
        found = register.register(moving, fixed, mask, soften=SOFTEN, **how)
        return {"found": torch.from_numpy(found)}

    of = [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in (moving, fixed)]
    about = [*of, SOFTEN, {k: v for k, v in how.items() if k != "progress"}]
    return nanoct.kept(about, make)["found"].numpy()
