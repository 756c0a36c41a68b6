"""Volumes that are no TIFF: zarr and OME-Zarr, HDF5, NRRD and MHA, folders of slices, pictures."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srlib.data.planes import Planes
from srlib.data.tiff import micrometres

PICTURES = (".png", ".bmp", ".gif", ".jpg", ".jpeg", ".pgm")
SLICES = (".tif", ".tiff", *PICTURES)
ITK = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
Found = tuple[Any, tuple[float | None, ...] | None, list[str]]  # values, voxel size, notes


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group, or lies in one."""
    return any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))


def read_zarr(path: Path) -> Found:
    """A zarr array, or the finest level of an OME-Zarr image (0.4 or 0.5).

    Raises:
        ValueError: for a group that holds several arrays, or one that is no image.
    """
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        sizes = _own_size(node.attrs)
        if sizes is None and is_zarr(path.parent):
            sizes = _level_size(zarr.open(path.parent, mode="r"), path.name, node.ndim)
        return _plain_zarr(node, sizes, path)
    if scales := _multiscales(node.attrs):
        name = scales[0]["datasets"][0]["path"]
        array = node[name]
        names = "".join(a["name"] if isinstance(a, dict) else a for a in scales[0].get("axes", ""))
        return _plain_zarr(array, _level_size(node, name, array.ndim), path, names)
    arrays = [name for name, child in node.members() if isinstance(child, zarr.Array)]
    if len(arrays) != 1:
        several = (
            f"holds {', '.join(sorted(arrays))}: name one" if arrays else "holds no array: give"
        )
        raise ValueError(
            f"{path.name} {several} as {path.name}/{sorted(arrays)[0] if arrays else 0}"
        )
    return _plain_zarr(node[arrays[0]], _own_size(node[arrays[0]].attrs), path)


def _plain_zarr(
    array: Any, sizes: tuple[float | None, ...] | None, path: Path, names: str = ""
) -> Found:
    """An array without axes of length one, which can be sliced."""
    keep = [k for k, n in enumerate(array.shape) if n > 1]
    if "c" in (letters := [names[k] for k in keep if names]) and array.shape[names.index("c")] > 1:
        raise ValueError(
            f"{path.name} has {array.shape[names.index('c')]} channels: save one of them alone"
        )
    if len(keep) > 3:
        raise ValueError(f"{path.name} has the shape {array.shape}: save one volume of it alone")
    del letters
    sizes = tuple(sizes[k] for k in keep) if sizes and len(sizes) == array.ndim else None
    if len(keep) == array.ndim:
        return array, sizes, []
    if len(keep) < 3:
        return np.squeeze(array[:]), sizes, []
    where = [0] * array.ndim

    def read(number: int) -> np.ndarray:
        index: list[Any] = [slice(None) if k in keep else 0 for k in range(len(where))]
        index[keep[0]] = number
        return np.asarray(array[tuple(index)])

    return Planes(read, tuple(array.shape[k] for k in keep), array.dtype), sizes, []


def _multiscales(attrs: Any) -> list[dict]:
    ome = attrs.get("ome", {})
    return (
        attrs.get("multiscales") or (ome.get("multiscales") if isinstance(ome, dict) else []) or []
    )


def _own_size(attrs: Any) -> tuple[float | None, ...] | None:
    """The voxel size that srlib notes with a plain array."""
    sizes = attrs.get("voxel_size_um")
    return tuple(sizes) if sizes else None


def _level_size(group: Any, level: str, ndim: int) -> tuple[float | None, ...] | None:
    """Micrometres along each axis of a level of an OME-Zarr image."""
    for image in _multiscales(group.attrs):
        units = [a.get("unit") if isinstance(a, dict) else None for a in image.get("axes", [])]
        for dataset in image["datasets"]:
            if dataset["path"] != level or len(units) != ndim:
                continue
            scale = np.ones(ndim)
            steps = [*dataset.get("coordinateTransformations", [])]
            steps += image.get("coordinateTransformations", [])
            scales = [step["scale"] for step in steps if step.get("type") == "scale"]
            if not scales:
                return None
            for factors in scales:
                scale = scale * np.asarray(factors, float)
            sizes = tuple(micrometres(n, u) for n, u in zip(scale, units, strict=True))
            return sizes if any(sizes) else None
    return None


def split_hdf5(path: Path) -> tuple[Path, str] | None:
    """File and dataset of ``file.h5:/path``, or of a file alone; None for another kind."""
    found = re.match(r"(?s)(.+?\.(?:h5|hdf5|hdf|he5))(?::/?(.*))?$", str(path), re.IGNORECASE)
    return (Path(found[1]), found[2] or "") if found else None


def read_hdf5(path: Path, name: str) -> Found:
    """A dataset of an HDF5 file; the only one, if none is named.

    Raises:
        ValueError: if there is no such dataset, or several and none is named.
    """
    import h5py

    file = h5py.File(path, "r")
    sets: list[str] = []

    def note(found: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "buif":
            sets.append(found)

    file.visititems(note)
    if not name and len(sets) == 1:
        name = sets[0]
    if name not in sets:
        what = f"no dataset {name!r}" if name else f"{len(sets)} datasets"
        several = f": name one as {path.name}:/{sets[0]}" if sets else " with an image"
        raise ValueError(f"{path.name} has {what}{several} (it holds {', '.join(sets) or 'none'})")
    data = file[name]
    sizes = data.attrs.get("element_size_um")
    sizes = None if sizes is None else tuple(float(s) for s in np.ravel(sizes))
    keep = [k for k, n in enumerate(data.shape) if n > 1]
    if len(keep) < data.ndim:
        values = np.squeeze(data[()])
        return values, tuple(sizes[k] for k in keep) if sizes else None, []
    return data, sizes, []


def read_itk(path: Path) -> Found:
    """An NRRD, MHA or NIfTI volume; lengths without a unit are millimetres, as ITK has it."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{path.name} is in colour: save it as one number per voxel")
    image = reader.Execute()
    values, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    unit, notes = _nrrd_unit(path), []
    if unit is None and set(spacing) != {1.0}:
        unit = "mm"
        notes = ["its spacing has no unit and is taken for millimetres"]
    keep = [k for k, n in enumerate(values.shape) if n > 1]
    sizes = tuple(micrometres(spacing[k], unit) for k in keep)
    return np.squeeze(values), sizes if any(sizes) else None, notes


def _nrrd_unit(path: Path) -> str | None:
    """The unit that the header of an NRRD file names."""
    if path.suffix.lower() not in (".nrrd", ".nhdr"):
        return None
    with open(path, "rb") as file:
        head = file.read(4096).split(b"\n\n")[0].decode("latin-1")
    found = re.search(r'^(?:space )?units:\s*"([^"]*)"', head, re.MULTILINE)
    return found[1] if found else None


def read_picture(path: Path) -> Found:
    """A PNG, BMP or JPEG as grey values or the numbers of its palette."""
    from PIL import Image

    notes = []
    if path.suffix.lower() in (".jpg", ".jpeg"):
        notes = ["JPEG changes values: a segmented image should be a PNG or TIFF"]
    with Image.open(path) as picture:
        if picture.mode == "P":
            notes.append(
                "the colours of its palette are left out: values are the numbers behind them"
            )
        values = np.asarray(picture)
    if values.ndim == 3:
        colours = values[..., :-1] if values.shape[-1] in (2, 4) else values
        if (colours != colours[..., :1]).any():
            raise ValueError(
                f"{path.name} is in colour: save it as one number per phase, or as grey values"
            )
        values = np.ascontiguousarray(colours[..., 0])
    return values.astype(np.uint8) if values.dtype == bool else values, None, notes


def natural(name: str) -> list:
    """Sorts slice_2 before slice_10."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name)]


def read_folder(path: Path, read_one: Callable[[Path], Any]) -> Found:
    """The slices of a folder in natural order, read when they are asked for.

    Args:
        path: The folder.
        read_one: Reads a slice: :func:`srlib.data.io.read`.

    Raises:
        ValueError: if there are no slices, or of several kinds or sizes.
    """
    files = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in SLICES and not p.name.startswith((".", "_"))
    ]
    files.sort(key=lambda p: natural(p.name))
    if not files:
        raise ValueError(
            f"{path.name} holds no slices ({', '.join(SLICES)}): name a file or a folder"
        )
    kinds = sorted({p.suffix.lower().replace("tiff", "tif") for p in files})
    if len(kinds) > 1:
        raise ValueError(f"{path.name} holds slices as {' and '.join(kinds)}: keep one kind there")
    first = read_one(files[0])
    if first.values.ndim != 2:
        raise ValueError(f"{path.name}/{files[0].name} is a volume: name it instead of the folder")
    notes = [*first.notes, *_gaps(files)]

    def read(number: int) -> np.ndarray:
        plane = np.asarray(read_one(files[number]).values)
        if plane.shape != first.values.shape or plane.dtype != first.values.dtype:
            raise ValueError(
                f"{path.name}/{files[number].name} is {plane.shape} {plane.dtype}, but "
                f"{files[0].name} is {first.values.shape} {first.values.dtype}: keep the slices "
                "of one stack there"
            )
        return plane

    if len(files) == 1:
        return first.values, first.voxel_size, notes
    for number in range(1, len(files)):
        if files[number].stat().st_size != files[0].stat().st_size:
            read(number)
    sizes = (None, *first.voxel_size) if first.voxel_size else None
    return Planes(read, (len(files), *first.values.shape), first.values.dtype), sizes, notes


def _gaps(files: list[Path]) -> list[str]:
    """A sentence on numbers that the names of slices leave out."""
    numbers = [re.findall(r"\d+", p.stem) for p in files]
    if len({len(n) for n in numbers}) != 1 or not numbers[0]:
        return []
    last = [int(n[-1]) for n in numbers]
    steps = np.diff(last)
    if len(steps) < 2 or (steps < 1).any() or not (steps == steps.min()).sum() > len(steps) / 2:
        return []
    usual = int(steps.min())
    absent = [last[k] + usual * j for k, s in enumerate(steps) for j in range(1, s // usual)]
    if not absent:
        return []
    shown = ", ".join(map(str, absent[:5])) + (" ..." if len(absent) > 5 else "")
    return [f"by their numbers, {len(absent)} slices are missing ({shown})"]
