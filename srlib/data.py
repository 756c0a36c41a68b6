"""Inputs: the case studies, a user's own images, and random windows of both."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srlib import twins
from srlib.case import Case, symmetries  # noqa: F401 (belongs to this interface)
from srlib.degrade import downsample, simulate_lr
from srlib.files import encode_labels, read_labels  # noqa: F401 (both belong to this interface)

SOURCES = ("auto", "real", "twin")


def find_file(name: str) -> Path | None:
    """A file in the folder ``$SRLIB_DATA`` or in ``data/raw``; None if it is in neither.

    Its name is added to the file ``$SRLIB_ASKED``, if that is set: so ``make book`` knows which
    chapters a file that is fetched later would change.
    """
    if asked := os.environ.get("SRLIB_ASKED"):
        with open(asked, "a", encoding="utf-8") as names:
            names.write(f"{name}\n")
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
_CATHODE = dict(
    scale_factor=4,
    phases=["pore", "active material", "binder"],
    lr_phases=["pore and binder", "active material"],
    phase_map=[[1, 0], [0, 1], [1, 0]],
)
_CASES = {
    "case1": {**_CATHODE, "files": ("NMC_lr_input.tif", "large_slice_nmc.tif"), "voxel_nm": 400.0},
    "electrode": {**_CATHODE, "files": ("electrode.tiff",)},
    "case2": dict(
        files=(
            "Separator_lr_input.tif",
            "Separator_hr_input_rods.tif",
            "Separator_hr_input_rods.tif",
            "Separator_hr_input_speckles.tif",
        ),
        scale_factor=4,
        phases=["pore", "solid"],
        lr_phases=["pore", "solid"],
        augment=(False, False, True),
        one_sided=True,
    ),
    "case3": _SOFC,
    "case3x8": {**_SOFC, "scale_factor": 8, "every": 2},
    "slicegan": {
        **_CATHODE,
        "files": ("large_slice_nmc.tif",),
        "scale_factor": 8,
        "lr_phases": [],
        "phase_map": None,
        "voxel_nm": 400.0,
    },
    "slicegan_separator": dict(
        files=("Separator_hr_input_rods.tif",) * 2 + ("Separator_hr_input_speckles.tif",),
        scale_factor=8,
        phases=["pore", "solid"],
        lr_phases=[],
        augment=(False, False, True),
    ),
    "case4": {
        **_CATHODE,
        "files": ("SEM_lr_input.tif", "sem_image_half.tif"),
        "scale_factor": 8,
        "voxel_nm": 50.0,
    },
}


def load(name: str, source: str = "auto", seed: int = 0, edge: int = 256) -> Case:
    """A case study of the SuperRes paper.

    Args:
        name: ``"case1"`` (battery cathode), ``"electrode"`` (a cathode whose fine volume is
            known; the coarse volume is simulated from it, the fine images are nine of its
            slices), ``"case2"`` (battery separator), ``"case3"`` (fuel-cell anode), ``"case3x8"``
            (with every second voxel of its coarse volume, Fig. 15) or ``"case4"`` (cathode by
            X-ray and electron microscope), ``"slicegan"`` or ``"slicegan_separator"`` (the fine
            images of case 1 or 2 alone).
        source: ``"real"`` for the public files, ``"twin"`` for synthetic data with a 3D truth,
            ``"auto"`` for the real files if they are there. They are looked for in the folder
            ``$SRLIB_DATA``, then in ``data/raw``.
        seed: Of the twin.
        edge: Of the twin's truth, in fine voxels, a multiple of the scale factor (a separator is
            twice as long along axis 0). Fine images are faces of a separator's truth, slices of an
            electrode's, and otherwise independent of it, with an edge of ``4 * edge`` pixels.

    Raises:
        ValueError: if the name is unknown, or the real files are asked for and missing.
    """
    if name not in _CASES:
        raise ValueError(f"there is no case {name!r}: choose one of {', '.join(_CASES)}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    spec = dict(_CASES[name])
    files, every = spec.pop("files"), spec.pop("every", 1)
    found = [find_file(f) for f in files]
    if source == "real" and None in found:
        group = "case2" if name.endswith("separator") else "case1"
        group = "case3" if name == "case3x8" else name if name[-1].isdigit() else group
        raise ValueError(
            f"{files[found.index(None)]} is not here: run 'python data/download.py {group}', or "
            "set SRLIB_DATA to its folder, or use source='twin'"
        )
    if source != "twin" and None not in found:
        parts = _real(name, [read_labels(path) for path in found], every)
        return Case(name=name, source="real", **parts, **spec)
    return Case(name=name, source="twin", **_twin(name, seed, edge), **spec)


def _real(name: str, arrays: list[np.ndarray], every: int) -> dict:
    if name == "electrode":
        return _from_truth(arrays[0])
    if name.startswith("slicegan"):
        lr, images = None, arrays
    else:
        lr, *images = arrays
        lr = lr[::every, ::every, ::every]
    parts: dict = {"lr": lr, "hr": images}
    if name == "case4":
        parts["fractions"] = as_in_the_scan(lr, images[0])
    if images[0].ndim == 3:  # a stack for each direction
        parts["hr"] = [image for stack in images for image in stack]
        parts["normals"] = [axis for axis, stack in enumerate(images) for _ in stack]
    return parts


def _twin(name: str, seed: int, edge: int) -> dict:
    if name == "electrode":
        return _from_truth(twins.cathode(seed, (edge,) * 3))
    if name in ("case2", "slicegan_separator"):
        shape = (2 * edge, edge, edge)
        parts = twins.separator_parts(seed, shape)
        truth, lr = (parts > 0).astype(np.uint8), simulate_lr(parts, 4, phase=1)["lr"]
        faces = [truth.take(i, axis) for axis in range(3) for i in (0, -1)]
        lr = lr if name == "case2" else None
        return {"truth": truth, "lr": lr, "hr": faces, "normals": [0, 0, 1, 1, 2, 2]}
    if name == "case4":
        truth, image = twins.composite(seed, (edge,) * 3), (628, 758)
        lr = simulate_lr(truth, 8, phase=1)["lr"]
        hr = [twins.composite(seed + 1_000_003, image, 0.58)]
        return {"truth": truth, "lr": lr, "hr": hr, "fractions": as_in_the_scan(lr, hr[0])}
    make = twins.sofc if name.startswith("case3") else twins.cathode
    truth, lr = make(seed, (edge,) * 3), None
    if name == "case1":
        lr = simulate_lr(truth, 4, phase=1)["lr"]
    elif name != "slicegan":
        fine = torch.from_numpy(truth)[None, None].float()
        lr = downsample(fine, 8 if name == "case3x8" else 4, "nearest")[0, 0].numpy().astype("u1")
    return {"truth": truth, "lr": lr, "hr": [make(seed + 1_000_003, (4 * edge,) * 2)]}


def as_in_the_scan(lr: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Active material as in the scan of case 4; the rest is pore and binder as in its image."""
    pore, _, binder = np.bincount(image.ravel(), minlength=3)
    rest = (1 - lr.mean()) / (pore + binder)
    return np.array([pore * rest, lr.mean(), binder * rest])


def _from_truth(truth: np.ndarray) -> dict:
    """Coarse volume by Fig. 12, and three slices along each axis as the fine images."""
    slices = [truth.take(n * i // 6, axis) for axis, n in enumerate(truth.shape) for i in (1, 3, 5)]
    return {"truth": truth, "lr": simulate_lr(truth, 4, phase=1)["lr"], "hr": slices}


def one_hot(labels: np.ndarray | Tensor, n: int) -> Tensor:
    """Channels of 0 and 1: labels ``(..., D, H, W)`` to float ``(n, ..., D, H, W)``."""
    labels = torch.as_tensor(labels)
    return (labels[None] == torch.arange(n).view(-1, *[1] * labels.ndim)).float()


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


def most_mixed(lr: Tensor, count: int) -> Tensor:
    """Of each ``count`` cubes ``(B * count, m, D, H, W)`` the one of most entropy, ``(B, ...)``."""
    shares = lr.mean((2, 3, 4))
    entropy = torch.special.entr(shares).sum(1).view(-1, count)
    return lr.unflatten(0, (-1, count))[torch.arange(len(entropy)), entropy.argmax(1)]


def sample_squares(images: list[np.ndarray], edge: int, n: int, generator=None) -> np.ndarray:
    """``n`` squares ``(n, edge, edge)`` of a list of images, every position as likely."""
    shapes = np.array([i.shape for i in images])
    rooms = (shapes - edge + 1.0).clip(0).prod(1)
    if not rooms.any():
        raise ValueError(
            f"a window of {edge} pixels does not fit into any fine image (largest: "
            f"{max((i.shape for i in images), key=min)}): use larger images or a smaller window"
        )
    which = torch.multinomial(torch.from_numpy(rooms), n, replacement=True, generator=generator)
    out = np.empty((n, edge, edge), np.uint8)
    for i, k in enumerate(which.tolist()):
        y, x = _starts(images[k].shape, edge, 1, generator)[0]
        out[i] = images[k][y : y + edge, x : x + edge]
    return out


def slice_volume(volume: Tensor, axis: int, index: Tensor | None = None) -> Tensor:
    """Slices normal to ``axis``: ``(B, n, D, H, W)`` to ``(B * slices, n, H, W)``.

    ``index`` picks planes along the axis; None takes all (SuperRes, Algorithm 1 line 7).
    """
    planes = volume if index is None else volume.index_select(axis + 2, index.to(volume.device))
    return planes.movedim(axis + 2, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def check_images(images: list[np.ndarray], n: int, edge: int) -> None:
    """Whether squares of ``edge`` pixels can be taken of every one of some label images.

    Raises:
        ValueError: if there are none, or one is no ``(H, W)`` array of uint8 phases below ``n``, or
            smaller than ``edge``.
    """
    if not isinstance(images, list | tuple) or not images:
        raise ValueError("give a list of label images, at least one")
    for k, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.uint8:
            raise ValueError(
                f"image {k} must be (H, W) uint8 phases, not {np.shape(image)} "
                f"{getattr(image, 'dtype', type(image).__name__)}: see encode_labels"
            )
        if min(image.shape) < edge:
            raise ValueError(
                f"image {k} of {image.shape} is smaller than {edge} pixels: use larger ones, or a "
                "smaller edge"
            )
        if image.max() >= n:
            raise ValueError(
                f"image {k} has phase {image.max()}, but there are {n}, 0 to {n - 1}: name more "
                "phases, or see encode_labels"
            )
