"""Inputs: the case studies, a user's own images, and random windows of both."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srlib import twins
from srlib.degrade import MODES, downsample, exact_scale, simulate_lr
from srlib.files import encode_labels, read_labels  # noqa: F401 (both belong to this interface)

SOURCES = ("auto", "real", "twin")


@dataclass
class Case:
    """A coarse volume, fine images, and what is known about them.

    Attributes:
        name: Short name.
        hr: Fine images, each ``uint8`` ``(H, W)`` with phases 0..n-1; they may differ in size.
        lr: Coarse volume, ``uint8`` ``(D, H, W)`` with phases 0..m-1.
        scale_factor: Fine voxels per coarse voxel edge.
        phases: Names of the n fine phases.
        lr_phases: Names of the m coarse phases.
        mode: ``"blur"`` (under-resolved) or ``"nearest"`` (under-sampled).
        phase_map: ``(n, m)`` of 0 and 1: which coarse phase each fine phase looks like.
        truth: Fine volume, ``(s*D, s*H, s*W)``, or None.
        normals: Axis (0, 1, 2) normal to each fine image; None for an isotropic material.
        augment: Per axis, whether mirrors and quarter turns of its images are as likely.
        voxel_nm: Fine voxel edge in nm; None when it is not published.
        source: ``"real"``, ``"twin"`` or ``"user"``.
    """

    name: str
    hr: list[np.ndarray]
    lr: np.ndarray
    scale_factor: float
    phases: list[str]
    lr_phases: list[str]
    mode: str = "blur"
    phase_map: np.ndarray | None = None
    truth: np.ndarray | None = None
    normals: list[int] | None = None
    augment: tuple[bool, bool, bool] = (True, True, True)
    voxel_nm: float | None = None
    source: str = "user"

    def __post_init__(self) -> None:
        n, m = len(self.phases), len(self.lr_phases)
        exact_scale(self.scale_factor)
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {self.mode!r}")
        if n < m:
            raise ValueError(
                f"the fine images have {n} phases and the coarse volume {m}: they must have at "
                "least as many, so merge phases of the coarse volume"
            )
        if not isinstance(self.hr, list | tuple) or not self.hr:
            raise ValueError("hr must be a list of at least one fine image")
        fine = set().union(*(_check_labels(image, n, "fine image", 2) for image in self.hr))
        coarse = _check_labels(self.lr, m, "coarse volume", 3)
        for number, image in enumerate(self.hr):
            lacks = [p for phase, p in enumerate(self.phases) if phase not in image]
            if lacks and len(fine) == n:  # another image has them
                warnings.warn(
                    f"fine image {number} has no {lacks[0]!r}: if its file should have, read every "
                    "image with read_labels(path, labels=[value of phase 0, of phase 1, ...])",
                    stacklevel=3,
                )
        for what, names, there in (
            ("phases", self.phases, fine),
            ("lr_phases", self.lr_phases, coarse),
        ):
            if missing := [name for phase, name in enumerate(names) if phase not in there]:
                image = "fine image" if what == "phases" else "coarse volume"
                raise ValueError(
                    f"no voxel of the {image} has the phase {missing[0]!r}: leave it out of {what}"
                )
        if self.phase_map is None:
            if n != m:
                raise ValueError(
                    f"say which of the {m} coarse phases each of the {n} fine phases looks like: "
                    f"phase_map, ({n}, {m}) of 0 and 1"
                )
            if set(self.phases) == set(self.lr_phases) and self.phases != self.lr_phases:
                raise ValueError(
                    f"lr_phases {self.lr_phases} are phases {self.phases} in another order: name "
                    "both in the order of the numbers in their files, and give the phase_map"
                )
            self.phase_map = np.eye(n, dtype=np.float32)
        try:
            self.phase_map = np.asarray(self.phase_map, np.float32)
        except (TypeError, ValueError):
            self.phase_map = np.empty(0)
        if self.phase_map.shape != (n, m) or not (
            np.isin(self.phase_map, (0, 1)).all() and (self.phase_map.sum(1) == 1).all()
        ):
            raise ValueError(f"phase_map must be ({n}, {m}) with exactly one 1 in each row")
        if self.normals is not None and (
            len(self.normals) != len(self.hr) or set(self.normals) != {0, 1, 2}
        ):
            raise ValueError(
                "normals needs one axis (0, 1 or 2) for each fine image, and each axis at least "
                "once: leave it out for an isotropic material"
            )

    def images(self, axis: int) -> list[np.ndarray]:
        """Fine images for slices normal to ``axis``, with their symmetries where allowed."""
        own = [
            image
            for i, image in enumerate(self.hr)
            if self.normals is None or self.normals[i] == axis
        ]
        return [s for image in own for s in symmetries(image)] if self.augment[axis] else own


def _check_labels(labels: np.ndarray, n: int, what: str, ndim: int) -> list[int]:
    if not isinstance(labels, np.ndarray) or labels.ndim != ndim:
        kind = f"{type(labels).__name__} of shape {getattr(labels, 'shape', 'unknown')}"
        raise ValueError(f"the {what} must be a numpy array of {ndim} dimensions, not {kind}")
    if labels.size == 0:
        raise ValueError(f"the {what} is empty: its shape is {labels.shape}")
    if labels.dtype != np.uint8:
        raise ValueError(f"the {what} must be uint8 phases, not {labels.dtype}: see encode_labels")
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=n)).tolist()
    if max(found) >= n:
        raise ValueError(f"the {what} has phases {found} but only {n} are named: name the others")
    if len(found) == 1:
        raise ValueError(f"the {what} has one phase only ({found[0]}): there is nothing to learn")
    return found


def _find(name: str) -> Path | None:
    folders = [os.environ.get("SRLIB_DATA"), Path(__file__).parents[1] / "data" / "raw"]
    found = (Path(folder).expanduser() / name for folder in folders if folder)
    return next((path for path in found if path.is_file()), None)


_SOFC = dict(
    files=("SOFC_lr_input.tif", "SOFC_hr_input.tif"),
    scale_factor=4,
    mode="nearest",
    phases=["pore", "nickel", "ceramic"],
    lr_phases=["pore", "nickel", "ceramic"],
)
_CASES = {
    "case1": dict(
        files=("NMC_lr_input.tif", "large_slice_nmc.tif"),
        scale_factor=4,
        mode="blur",
        phases=["pore", "active material", "binder"],
        lr_phases=["pore and binder", "active material"],
        phase_map=[[1, 0], [0, 1], [1, 0]],
        voxel_nm=400.0,
    ),
    "case3": _SOFC,
    "case3x8": {**_SOFC, "scale_factor": 8, "every": 2},
}


def load(name: str, source: str = "auto", seed: int = 0, edge: int = 256) -> Case:
    """A case study of the SuperRes paper.

    Args:
        name: ``"case1"`` (battery cathode), ``"case3"`` (fuel-cell anode), or ``"case3x8"``, the
            latter with every second voxel of its coarse volume (SuperRes, Fig. 15).
        source: ``"real"`` for the public files, ``"twin"`` for synthetic data with a 3D truth,
            ``"auto"`` for the real files if they are there. They are looked for in the folder
            ``$SRLIB_DATA``, then in ``data/raw``.
        seed: Of the twin.
        edge: Of the twin's truth, in fine voxels, a multiple of the scale factor; its fine image
            is independent of that volume and has an edge of ``4 * edge`` pixels.

    Raises:
        ValueError: if the name is unknown, or the real files are asked for and missing.
    """
    if name not in _CASES:
        raise ValueError(f"there is no case {name!r}: choose one of {', '.join(_CASES)}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    spec = dict(_CASES[name])
    files, every = spec.pop("files"), spec.pop("every", 1)
    found = [_find(f) for f in files]
    if source == "real" and None in found:
        raise ValueError(
            f"{files[found.index(None)]} is not here: run 'python data/download.py "
            f"{name.removesuffix('x8')}', or set SRLIB_DATA to its folder, or use source='twin'"
        )
    if source != "twin" and None not in found:
        lr, hr = (read_labels(path) for path in found)
        return Case(name=name, hr=[hr], lr=lr[::every, ::every, ::every], source="real", **spec)
    make, scale = (twins.cathode if name == "case1" else twins.sofc), spec["scale_factor"]
    truth = make(seed, (edge,) * 3)
    if name == "case1":
        lr = simulate_lr(truth, scale, phase=1)["lr"]
    else:
        fine = torch.from_numpy(truth)[None, None].float()
        lr = downsample(fine, scale, "nearest")[0, 0].numpy().astype(np.uint8)
    hr = make(seed + 1_000_003, (4 * edge,) * 2)
    return Case(name=name, hr=[hr], lr=lr, truth=truth, source="twin", **spec)


def one_hot(labels: np.ndarray | Tensor, n: int) -> Tensor:
    """Channels of 0 and 1: labels ``(..., D, H, W)`` to float ``(n, ..., D, H, W)``."""
    labels = torch.as_tensor(labels)
    return (labels[None] == torch.arange(n).view(-1, *[1] * labels.ndim)).float()


def symmetries(image: np.ndarray) -> list[np.ndarray]:
    """The eight mirrors and quarter turns of a 2D image, as views (SuperRes, Algorithm 1)."""
    turns = [np.rot90(image, k) for k in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def _starts(shape: tuple[int, ...], edge: int, n: int, generator) -> np.ndarray:
    if min(shape) < edge:
        raise ValueError(
            f"a window of {edge} does not fit into the shape {tuple(shape)}: use a larger image "
            "or volume, or a smaller window"
        )
    return np.stack(
        [torch.randint(0, size - edge + 1, (n,), generator=generator).numpy() for size in shape], 1
    )


def sample_cubes(lr: np.ndarray, edge: int, n: int, generator=None) -> np.ndarray:
    """``n`` cubes ``(n, edge, edge, edge)`` of a volume, every position as likely as any other."""
    starts = _starts(lr.shape, edge, n, generator)
    return np.stack([lr[z : z + edge, y : y + edge, x : x + edge] for z, y, x in starts])


def sample_squares(images: list[np.ndarray], edge: int, n: int, generator=None) -> np.ndarray:
    """``n`` squares ``(n, edge, edge)`` of a list of images, every position as likely."""
    rooms = [float(np.prod(np.maximum(np.subtract(i.shape, edge - 1), 0))) for i in images]
    if not sum(rooms):
        raise ValueError(
            f"a window of {edge} pixels does not fit into any fine image (largest: "
            f"{max((i.shape for i in images), key=min)}): use larger images or a smaller window"
        )
    which = torch.multinomial(torch.tensor(rooms), n, replacement=True, generator=generator)
    out = np.empty((n, edge, edge), np.uint8)
    for i, k in enumerate(which.tolist()):
        y, x = _starts(images[k].shape, edge, 1, generator)[0]
        out[i] = images[k][y : y + edge, x : x + edge]
    return out
