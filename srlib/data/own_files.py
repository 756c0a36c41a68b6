"""A case of a user's own files: what is proposed from them, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srlib.data.case import Case
from srlib.data.io import Image, as_phases, encode_labels, phase_values, read
from srlib.data.pairing import PairInspection, inspect_pair
from srlib.data.planes import middle

MOST_COARSE = 2**24  # coarse voxels that are trained on, a block in the middle of a larger volume
ALIKE = 1.02  # ratio of the edges of a voxel up to which it is a cube


@dataclass(frozen=True)
class OwnFiles:
    """A coarse volume and fine images of files, ready for a training.

    Attributes:
        case: For :func:`srlib.training.fit_superres`; its volume is a block of a large one.
        coarse: The whole coarse volume.
        labels: The value of each coarse phase in its file.
        fine_labels: The value of each fine phase in its files.
        block: Where the volume of the case lies in the whole one.
        pair: What was found, with advice.
        fine: The files of the fine images.
    """

    case: Case
    coarse: Image
    labels: list[float]
    fine_labels: list[float]
    block: tuple[slice, ...]
    pair: PairInspection
    fine: tuple[Path, ...] = ()


def own_case(
    coarse: str | Path,
    fine: Sequence[str | Path],
    scale_factor: float | None = None,
    *,
    labels: Sequence[float] | None = None,
    fine_labels: Sequence[float] | None = None,
    phases: Sequence[str] | None = None,
    phase_map: Sequence[int] | None = None,
    mode: str | None = None,
    normals: Sequence[int] | None = None,
    voxel_size: float | None = None,
    name: str | None = None,
) -> OwnFiles:
    """A case of a coarse volume and fine images, with what is not given taken from the files.

    The scale factor comes from the voxel sizes, or else from the structure; the phase map and the
    sampling from the phases of both; fractions are weighed by how far each file stands for the
    material.

    Args:
        coarse: File of the coarse volume, as in :func:`srlib.data.io.read`.
        fine: Files of fine images.
        scale_factor: Fine voxels per coarse voxel edge; None to take it from the files.
        labels, fine_labels: The value of each phase in the files; None for those that occur.
        phases: Names of the fine phases.
        phase_map: The coarse phase that each fine phase looks like.
        mode: ``"blur"`` or ``"nearest"``.
        normals: The axis that each fine image is normal to, for a material with a direction.
        voxel_size: Micrometres of a coarse voxel, if the file does not say it.
        name: Of the case; by default that of the coarse file.

    Raises:
        ValueError: if the files cannot be used together; the sentence says why and what to do.

    Example:
        >>> import numpy as np
        >>> from srlib.data.own_files import own_case
        >>> import tempfile, pathlib
        >>> from scipy.ndimage import gaussian_filter
        >>> from srlib.data import write
        >>> solid = gaussian_filter(np.random.default_rng(0).normal(size=(96,) * 3), 3) > 0.01
        >>> folder = tempfile.TemporaryDirectory()
        >>> here = pathlib.Path(folder.name)
        >>> write(here / "scan.tif", solid[::4, ::4, ::4] * np.uint8(255), (0.4, 0.4, 0.4))
        >>> write(here / "image.tif", solid[10] * np.uint8(255), (0.1, 0.1))
        >>> mine = own_case(here / "scan.tif", [here / "image.tif"])
        >>> mine.case.scale_factor, mine.case.phase_map.tolist(), mine.labels
        (4.0, [[1.0, 0.0], [0.0, 1.0]], [0, 255])
        >>> folder.cleanup()
    """
    volume, images = read(coarse), [read(path) for path in fine]
    if volume.values.ndim != 3:
        raise ValueError(
            f"{volume.path.name} is one image: name the coarse volume first, then the fine images"
        )
    volume = _with_size(volume, voxel_size)
    _check_cubes(volume)
    labels = list(labels) if labels is not None else phase_values(volume)
    planes = [plane for image in images for plane in _planes(image)]
    found = [np.unique(plane) for plane in planes]
    fine_labels = (
        list(fine_labels)
        if fine_labels is not None
        else _all_values([i.path.name for i in images], found)
    )
    block = middle(volume.values.shape, MOST_COARSE)
    lr = np.array(as_phases(volume, labels).values[block])
    hr = [_encoded(plane, fine_labels) for plane in planes]
    sizes = [image.voxel_size and image.voxel_size[-2:] for image in images for _ in _planes(image)]
    pair = inspect_pair(lr, hr, volume.voxel_size, sizes, scale_factor)
    errors = [f for f in pair.findings if f.severity == "error"]
    if errors:
        raise ValueError(f"{errors[0].message}: {errors[0].advice}")
    scale = scale_factor or pair.scale_factor
    if scale is None:
        raise ValueError(
            "the files do not say the scale factor: give it, fine voxels per coarse voxel edge"
        )
    rows = phase_map if phase_map is not None else _rows(pair)
    chosen = np.eye(len(labels), dtype=np.float32)[_checked_rows(rows, fine_labels, labels)]
    names = list(phases) if phases else [f"{value:g}" for value in fine_labels]
    same = len(labels) == len(names) and (chosen == np.eye(len(names))).all()
    known = pair.fractions and min(pair.fractions) > 0 and len(pair.fractions) == len(names)
    case = Case(
        name=name or volume.path.name.split(".")[0],
        hr=hr,
        lr=lr,
        scale_factor=scale,
        phases=names,
        lr_phases=names if same else [f"coarse {value:g}" for value in labels],
        mode=mode or pair.mode or "blur",
        phase_map=chosen,
        normals=list(normals) if normals else None,
        fractions=np.array(pair.fractions) / sum(pair.fractions) if known else None,
        voxel_nm=_nanometres(volume, scale),
    )
    return OwnFiles(case, volume, labels, fine_labels, block, pair, tuple(i.path for i in images))


def _planes(image: Image) -> list[np.ndarray]:
    """A fine image, or those of a stack."""
    values = image.values
    return [np.asarray(values)] if values.ndim == 2 else [np.asarray(plane) for plane in values[:]]


def _all_values(names: list[str], found: list[np.ndarray]) -> list[float]:
    try:
        values = np.unique(np.concatenate(found))
        encode_labels(values)
    except ValueError as error:
        raise ValueError(f"{', '.join(names)}: {error}") from None
    return values.tolist()


def _encoded(plane: np.ndarray, labels: list[float]) -> np.ndarray:
    return encode_labels(plane, labels)


def _with_size(volume: Image, voxel_size: float | None) -> Image:
    """A volume with the edge of a voxel, which must not contradict its file."""
    if voxel_size is None:
        return volume
    if not voxel_size > 0:
        raise ValueError(f"the voxel size {voxel_size:g} should be above 0, in micrometres")
    told = [size for size in volume.voxel_size or () if size]
    if any(abs(size / voxel_size - 1) > 0.02 for size in told):
        raise ValueError(
            f"the voxel size {voxel_size:g} contradicts {volume.path.name}, which says "
            f"{told[0]:g} um: leave it out, or correct the size in the file"
        )
    return replace(volume, voxel_size=(voxel_size,) * 3)


def _check_cubes(volume: Image) -> None:
    """Raise a ValueError if the coarse voxels are known not to be cubes."""
    sizes = [size for size in volume.voxel_size or () if size]
    if sizes and max(sizes) > ALIKE * min(sizes):
        said = " x ".join("?" if s is None else f"{s:g}" for s in volume.voxel_size or ())
        raise ValueError(
            f"the voxels of {volume.path.name} are {said} um, no cubes: make the planes between "
            f"its sections first, with srlib depth {volume.path.name} -o cubes.tif, or resample it"
        )


def _rows(pair: PairInspection) -> list[int]:
    if pair.phase_map is None:
        raise ValueError(
            "the files do not say which coarse phase each fine phase looks like: give the phase map"
        )
    return [row.index(1) for row in pair.phase_map]


def _checked_rows(rows: Sequence[int], fine: list[float], coarse: list[float]) -> list[int]:
    rows = [int(row) for row in rows]
    if len(rows) != len(fine) or not all(0 <= row < len(coarse) for row in rows):
        raise ValueError(
            f"the phase map should name one of the {len(coarse)} coarse phases, 0 to "
            f"{len(coarse) - 1}, for each of the {len(fine)} fine ones, not {rows}"
        )
    return rows


def _nanometres(volume: Image, scale: float) -> float | None:
    """Edge of a fine voxel."""
    sizes = [size for size in volume.voxel_size or () if size]
    return 1000 * float(np.mean(sizes)) / scale if sizes else None
