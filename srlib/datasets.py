"""The case studies: the public files if they are there, else synthetic data with their truth."""

from typing import Any

import numpy as np
import torch

from srlib.data.case import Case
from srlib.data.io import find_file, read, read_labels
from srlib.physics.downsampling import downsample, simulate_lr
from srlib.synthetic import microstructures

SOURCES = ("auto", "real", "twin")
_SOFC: dict[str, Any] = dict(
    files=("SOFC_lr_input.tif", "SOFC_hr_input.tif"),
    scale_factor=4,
    mode="nearest",
    phases=["pore", "nickel", "ceramic"],
    lr_phases=["pore", "nickel", "ceramic"],
)
_CATHODE: dict[str, Any] = dict(
    scale_factor=4,
    phases=["pore", "active material", "binder"],
    lr_phases=["pore and binder", "active material"],
    phase_map=[[1, 0], [0, 1], [1, 0]],
)
_CASES: dict[str, dict[str, Any]] = {
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


def published_cubes(name: str) -> dict[str, np.ndarray] | None:
    """What the authors of SuperRes measured in 256 cubes of a volume; None if it is not here.

    Args:
        name: ``"new_vol_1024"``, the truth of Case 1, or ``"generated_tif2"``, their output.

    Returns:
        Three columns each of ``volume_fractions``, ``interphase_areas`` and ``transport``, as of
        :func:`srlib.metrics.cube_statistics`.
    """
    file = find_file(f"{name}.tiftau64-2.npy")
    if file is None:
        return None
    fractions, areas, tortuosity = np.split(np.load(file), 3, axis=1)
    found = {"volume_fractions": fractions, "interphase_areas": areas}
    return found | {"transport": fractions / tortuosity}


def sandstone_scans() -> tuple[np.ndarray, np.ndarray] | None:
    """A Bentheimer sandstone that was scanned twice, registered; None if a file is not here.

    The crops of ``data/download.py edsr`` overlap by half, those for testing with those for
    training; joined, they are one slab.

    Returns:
        Grey values ``(z, y, x)``: 30 x 45 x 210 voxels of 6 um and 90 x 135 x 630 voxels of 2 um.
    """
    scans = []
    for kind, edge in (("LR", 30), ("HR", 90)):
        scan, half = np.zeros((edge, edge * 3 // 2, edge * 7), np.uint8), edge // 2
        for k in range(26):
            path = find_file(f"edsr/{'TRAIN' if k < 24 else 'TEST'}/{kind}/{k + 1}.tif")
            if path is None:
                return None
            y, x = half * (k // 13), half * (k % 13)
            scan[:, y : y + edge, x : x + edge] = read(path).values[:]
        scans.append(scan)
    return scans[0], scans[1]


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

    Example:
        >>> from srlib import datasets
        >>> case = datasets.load("case3", source="twin", edge=64)
        >>> case.phases, case.scale_factor
        (['pore', 'nickel', 'ceramic'], 4)
        >>> case.lr.shape, case.hr[0].shape, case.truth.shape
        ((16, 16, 16), (256, 256), (64, 64, 64))
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
        parts = _real(name, [read_labels(path) for path in found if path], every)
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
    if name == "case4" and lr is not None:
        parts["fractions"] = as_in_the_scan(lr, images[0])
    if images[0].ndim == 3:  # a stack for each direction
        parts["hr"] = [image for stack in images for image in stack]
        parts["normals"] = [axis for axis, stack in enumerate(images) for _ in stack]
    return parts


def _twin(name: str, seed: int, edge: int) -> dict:
    if name == "electrode":
        return _from_truth(microstructures.cathode(seed, (edge,) * 3))
    if name in ("case2", "slicegan_separator"):
        shape = (2 * edge, edge, edge)
        parts = microstructures.separator_parts(seed, shape)
        truth, lr = (parts > 0).astype(np.uint8), simulate_lr(parts, 4, phase=1)["lr"]
        faces = [truth.take(i, axis) for axis in range(3) for i in (0, -1)]
        lr = lr if name == "case2" else None
        return {"truth": truth, "lr": lr, "hr": faces, "normals": [0, 0, 1, 1, 2, 2]}
    if name == "case4":
        truth, image = microstructures.composite(seed, (edge,) * 3), (628, 758)
        lr = simulate_lr(truth, 8, phase=1)["lr"]
        hr = [microstructures.composite(seed + 1_000_003, image, 0.58)]
        return {"truth": truth, "lr": lr, "hr": hr, "fractions": as_in_the_scan(lr, hr[0])}
    make = microstructures.sofc if name.startswith("case3") else microstructures.cathode
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
