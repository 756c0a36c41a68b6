"""SY5, the twin of the nano-tomography in the InDI paper: two cells, three states, two scans.

A cell is scanned at low quality (LQ: 100 nm voxels, the whole sample) and, for training only, at
high quality (HQ: 50 nm voxels, the inner half of its width). Between the two scans the sample has
moved a little. The truth is kept: phases, attenuation and the motion.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from tqdm.std import tqdm

from srlib import storage
from srlib.data import registration
from srlib.data.normalization import disc, field, limits, scaled, unringed
from srlib.data.pairs import align
from srlib.physics import tomography
from srlib.physics.tomography import Scanner
from srlib.synthetic import silicon_anode

SHAPE = (104, 640, 640)  # of the sample in voxels of 50 nm
HQ = Scanner(angles=320, photons=100, blur=2.6, gain=0.02, optics=1.6)
LQ = Scanner(angles=320, photons=400, blur=3.0, gain=0.35, faulty=0.06, optics=3.2)
RANGE = (-1.0, 2.0)  # attenuation of the smallest and the largest 16-bit number
ROOT = Path(__file__).parents[2]
CACHE = ROOT / "_build" / "sy5" if (ROOT / "pyproject.toml").exists() else None


BEYOND = 4  # slices at the end that a motion along the axis can take out of the scan
GAP = 15  # slices left out between two parts, so that no neighbour of a training slice is judged
SOFTEN = 8.2  # sigma that makes a HQ scan as blurred as a LQ scan, voxels of 50 nm
TRUTH = (0.25, 0.75)  # attenuation that the grey values -1 and 1 of the truth stand for


@dataclass
class State:
    """One state of a cell. D, H, W count voxels of 50 nm.

    Attributes:
        labels: Phases of the whole sample, ``(D, H, W)``, see
            :data:`srlib.synthetic.silicon_anode.PHASES`.
        grey: True attenuation, ``(D, H/2, W/2)``, of the field of the HQ scan.
        lq_raw: LQ scan before rings are reduced, ``(D/2, H/2, W/2)``, voxels of 100 nm.
        lq: The same with rings reduced.
        hq: HQ scan with rings reduced, ``(D, H/2, W/2)``; None where there is none.
        motion: Where the LQ scan shows a place of the field of the HQ scan: displacement in voxels
            of 50 nm, ``(3, D, H/2, W/2)``, components z, y, x.
    """

    labels: np.ndarray
    grey: np.ndarray
    lq_raw: np.ndarray
    lq: np.ndarray
    hq: np.ndarray | None
    motion: np.ndarray


def inner(volume: np.ndarray) -> np.ndarray:
    """The part of the sample that the HQ scan sees: half of the width, all of the height."""
    h, w = (n // 4 for n in volume.shape[-2:])
    return volume[..., h : volume.shape[-2] - h, w : volume.shape[-1] - w]


def misalignment(
    seed: int, shape: tuple[int, int, int], creep: float = 0.1, shortest: float = 300.0
) -> np.ndarray:
    """A small rigid motion with a smooth warp on top.

    Up to 1.5 voxels along each axis, 0.3 degrees about z, and a creep that changes over hundreds of
    voxels.

    Args:
        seed: Same seed, same motion.
        shape: Of the field in voxels.
        creep: Sd of the warp, voxels.
        shortest: Distance of its knots, voxels.

    Returns:
        ``(3, *shape)`` float32 displacement in voxels, components z, y, x.
    """
    rng = np.random.default_rng([seed, 4])
    shift = rng.uniform(0.7, 1.5, 3) * rng.choice([-1, 1], 3)
    angle = np.deg2rad(0.3) * rng.choice([-1, 1])
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape[1:])
    out = np.zeros((3, *shape), np.float32)
    out += shift[:, None, None, None].astype(np.float32)
    out[1] += -np.float32(angle) * x
    out[2] += np.float32(angle) * y[:, None]
    knots = [max(2, round(n / shortest) + 1) for n in shape]
    for part in out:
        part += tomography.zoomed(creep * rng.standard_normal(knots), shape, 1)
    return out


def moved(volume: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A sample after a motion u: what was at p is now at p + u(p).

    Args:
        volume: ``(D, H, W)``.
        motion: ``(3, D, H, W)`` in voxels of the volume.
    """
    back = -motion
    for _ in range(3):  # the inverse of p + u(p), by iteration; motions are small and smooth
        back = -np.stack([registration.apply(u, back, 1) for u in motion])
    return registration.apply(volume, back)


def on_fine(motion: np.ndarray) -> np.ndarray:
    """A motion of the LQ scan, in its voxels, in the field of the HQ scan and in voxels of 50 nm.

    Args:
        motion: ``(3, D/2, H/2, W/2)``; the result is ``(3, D, H/2, W/2)``.
    """
    places = [np.arange(2 * n, dtype=np.float32) / 2 - 0.25 for n in motion.shape[1:]]
    places[1:] = (p[len(p) // 4 : len(p) - len(p) // 4] for p in places[1:])
    return np.stack([2 * silicon_anode.between(m, places) for m in motion])


def cell(
    seed: int = 0,
    states: tuple[int, ...] = (0,),
    hq: bool = True,
    shape: tuple[int, int, int] = SHAPE,
    *,
    scanners: tuple[Scanner, Scanner] = (LQ, HQ),
    progress: bool = True,
    folder: Path | None = CACHE,
) -> list[State]:
    """Scans of one cell, made once and then read from disk.

    Args:
        seed: Of the cell: 0 is the one to train on, 1 the one that no training sees.
        states: Which of T0, T1, T2 = 0, 1, 2.
        hq: Whether there is a HQ scan as well.
        shape: Of the sample in voxels of 50 nm, ``(D, N, N)``, multiples of 4.
        scanners: Of the LQ and the HQ scan.
        progress: Show a bar.
        folder: Where volumes are kept; None to keep none.

    Raises:
        ValueError: if the shape does not fit, or a state is unknown.
        OSError: if the folder cannot be written.
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3 or shape[1] != shape[2] or any(n % 4 or n < 32 for n in shape):
        raise ValueError(f"a sample is (D, N, N), multiples of 4 from 32 on, not {shape}")
    made = []
    with tqdm(total=len(states), desc=f"cell {seed}", disable=not progress) as bar:
        for state in states:
            about: list[Any] = [
                seed,
                state,
                hq and state == states[0],
                shape,
                *map(asdict, scanners),
            ]

            def scan(state: int = state, hq: bool = about[2]) -> dict[str, torch.Tensor]:
                return _packed(_scan(seed, state, hq, shape, scanners))

            made.append(_unpacked(kept(about, scan, folder)))
            bar.update()
    return made


def kept(
    about: list, make: Callable[[], dict[str, torch.Tensor]], folder: Path | None = CACHE
) -> dict[str, torch.Tensor]:
    """Tensors that are made once and then read from disk, by all chapters of the book.

    Kept under a hash of what they are about and of the source of the simulator, so that a change
    of it makes them anew. Who asks while another process makes them waits for it.

    Args:
        about: All that they depend on, as JSON can write it.
        make: Called if they are not there, or damaged.
        folder: Where they are kept; None to keep nothing.

    Raises:
        OSError: if the folder cannot be written.
    """
    if folder is None:
        return make()
    modules = silicon_anode, tomography, registration, sys.modules[__name__]
    source = [inspect.getsource(module) for module in modules]
    key = hashlib.sha256(json.dumps([about, source]).encode()).hexdigest()[:16]
    path = Path(folder) / f"sy5-{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        try:
            return storage.read(path)[0]
        except ValueError:  # not there, or damaged
            tensors = make()
            storage.write(path, tensors, {"about": about})
            return tensors


def _scan(
    seed: int,
    state: int,
    hq: bool,
    shape: tuple[int, ...],
    scanners: Sequence[tomography.Scanner],
) -> State:
    labels = silicon_anode.labels(seed, state, shape)
    whole = silicon_anode.grey(labels, seed, state)
    lq, number = scanners[0], 100 * seed + 10 * state
    contrast = silicon_anode.ATTENUATION[0] - silicon_anode.ATTENUATION[1]
    deep, n, _ = shape
    coarse = whole.reshape(deep // 2, 2, n // 2, 2, n // 2, 2).mean((1, 3, 5))
    motion = misalignment(number, coarse.shape)
    coarse = moved(coarse, motion)
    lines = tomography.measure(tomography.project(coarse, lq.angles, n // 2), lq, number, seed)
    scans = []
    for of in (lines, tomography.without_rings(lines)):
        volume = tomography.reconstruct(of, n // 2)
        scans.append(tomography.drifted(volume, contrast, lq.drift, number))
    fine = None
    if hq:
        of = scanners[1]
        lines = tomography.project(whole, of.angles, n // 2)
        lines = tomography.measure(lines, of, number + 1, number + 1)  # another camera
        lines = tomography.without_rings(lines)
        fine = tomography.reconstruct(lines, n // 2, n=n)
        fine = tomography.drifted(fine, contrast, of.drift, number + 1)
    return State(labels, inner(whole).copy(), scans[0], scans[1], fine, on_fine(motion))


def _packed(state: State) -> dict[str, torch.Tensor]:
    """Scans as 16-bit numbers, like those of the paper, and the motion as 16-bit floats."""
    low, high = RANGE
    tensors = {}
    for name, value in vars(state).items():
        if value is None:
            continue
        if name == "labels":
            tensors[name] = torch.from_numpy(value)
        elif name == "motion":
            tensors[name] = torch.from_numpy(value).half()
        else:
            whole = np.rint((np.clip(value, low, high) - low) / (high - low) * 65535)
            tensors[name] = torch.from_numpy(whole.astype(np.uint16))
    return tensors


def _unpacked(tensors: dict[str, torch.Tensor]) -> State:
    low, high = RANGE
    found: dict[str, Any] = dict.fromkeys(State.__dataclass_fields__)
    for name, value in tensors.items():
        array = value.numpy() if name != "motion" else value.float().numpy()
        if array.dtype == np.uint16:
            array = array.astype(np.float32) / np.float32(65535 / (high - low)) + np.float32(low)
        found[name] = array
    return State(**found)


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
    state: State, registered: bool = True, rings: bool = False, top: int = 0, **how: Any
) -> Pair:
    """The pair of a state with a HQ scan: scaled, on one grid, registered.

    Args:
        state: Of :func:`srlib.synthetic.nanoct.cell`.
        registered: False to leave the LQ scan where it is.
        rings: Use the LQ scan with its rings.
        top: First slice of the pair; fewer are registered in less time. Limits are those of all.
        how: Further arguments of :func:`srlib.data.registration.register`.

    Raises:
        ValueError: if there is no HQ scan.
    """
    if state.hq is None:
        raise ValueError("this state has no HQ scan: make the cell with hq=True")
    mask = disc(state.hq.shape[-1])
    lq = field(state.lq_raw if rings else state.lq)
    bounds = limits(lq, mask), limits(state.hq, mask)
    lq, motion = lq[top:], state.motion[:, top:]

    def find(moving: np.ndarray, fixed: np.ndarray, where: np.ndarray) -> np.ndarray:
        if not registered:
            return np.zeros_like(motion)
        return _found(unringed(moving), unringed(fixed), where, how)

    made = align(lq, state.hq[top:], mask, bounds, find)
    return Pair(
        lq=made.lq,
        hq=made.hq,
        truth=scaled(state.grey[top:], TRUTH),
        labels=inner(state.labels)[top:].copy(),
        mask=mask,
        limits=made.limits,
        residual=registration.residual(
            made.displacement, motion, np.broadcast_to(mask, made.hq.shape)
        ),
    )


def _found(moving: np.ndarray, fixed: np.ndarray, mask: np.ndarray, how: dict) -> np.ndarray:
    """The registration of two scans, made once and then read from disk."""

    def make() -> dict[str, torch.Tensor]:
        found = registration.register(moving, fixed, mask, soften=SOFTEN, **how)
        return {"found": torch.from_numpy(found)}

    of = [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in (moving, fixed)]
    about = [*of, SOFTEN, {k: v for k, v in how.items() if k != "progress"}]
    return kept(about, make)["found"].numpy()
