"""Files in and out: one reader and one writer for every kind, with the size of voxels."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srlib.data import containers
from srlib.data.planes import Planes
from srlib.data.tiff import read_tiff
from srlib.metrics.checks import MAX_PHASES

OUTPUTS = (".tif", ".tiff", ".zarr", ".nrrd", ".mha")
_OTHERS = (".czi", ".lif", ".nd2", ".dm3", ".dm4", ".mrc", ".mat", ".vol", ".dcm", ".am")
_CLASSIC = 2**32 - 2**16  # bytes that a TIFF without 64-bit addresses can have
_ITK_TYPES = {
    "u1": ("uint8", "MET_UCHAR"),
    "i1": ("int8", "MET_CHAR"),
    "u2": ("uint16", "MET_USHORT"),
    "i2": ("int16", "MET_SHORT"),
    "u4": ("uint32", "MET_UINT"),
    "i4": ("int32", "MET_INT"),
    "f4": ("float", "MET_FLOAT"),
    "f8": ("double", "MET_DOUBLE"),
}


@dataclass(frozen=True)
class Image:
    """An image or a volume as a file has it.

    Attributes:
        values: ``(H, W)`` or ``(D, H, W)``, any numeric type: an array, a memory map, or something
            that is read as it is sliced. ``np.asarray`` loads it whole.
        voxel_size: Micrometres along each axis, None where the file does not say; None if it says
            nothing.
        notes: What was done with the file, a sentence each.
        path: The file or folder.
    """

    values: Any
    voxel_size: tuple[float | None, ...] | None
    notes: tuple[str, ...]
    path: Path


def read(path: str | Path) -> Image:
    """Open an image or a volume; what is large is read only as it is sliced.

    TIFF (classic, BigTIFF, ImageJ, OME, compressed, tiled, appended pages), a folder of slices in
    natural order, ``.npy``, zarr and OME-Zarr, NRRD, MHA and NIfTI, an HDF5 dataset as
    ``file.h5:/path``, and PNG. Values are those that the screen shows: white is high.

    Args:
        path: The file or folder.

    Raises:
        ValueError: if it is missing, incomplete, in colour, or of other dimensions.

    Example:
        >>> from srlib.data import read, write
        >>> import numpy as np, tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "stack.tif"
        >>> write(path, np.zeros((4, 8, 8), np.uint8), voxel_size=(0.5, 0.1, 0.1))
        >>> read(path).values.shape, [round(size, 6) for size in read(path).voxel_size]
        ((4, 8, 8), [0.5, 0.1, 0.1])
        >>> folder.cleanup()
    """
    path = Path(path)
    if inside := containers.split_hdf5(path):
        path, dataset = inside
    if not path.exists():
        raise ValueError(f"there is no file {path.absolute()}: check the name")
    try:
        if inside:
            values, voxel_size, notes = containers.read_hdf5(path, dataset)
        else:
            values, voxel_size, notes = _open(path)
        ndim, shape, kind = values.ndim, values.shape, np.dtype(values.dtype).kind
    except ValueError as error:
        if str(error).startswith(path.name):  # one of ours says what is wrong
            raise
        raise _unreadable(path, error) from None
    except Exception as error:
        raise _unreadable(path, error) from None
    if ndim == 3 and shape[0] == 1:
        values, voxel_size = values[0], voxel_size[1:] if voxel_size else None
        ndim, shape = 2, shape[1:]
    if ndim not in (2, 3):
        raise ValueError(f"{path.name} has the shape {shape}: a 2D or 3D image is needed")
    if not all(shape):
        raise ValueError(f"{path.name} is empty: its shape is {shape}")
    if kind not in "buif":
        raise ValueError(f"{path.name} holds {values.dtype}: save it as numbers")
    return Image(values, voxel_size, tuple(notes), path)


def _open(path: Path) -> containers.Found:
    """Values, voxel size and notes, by the ending of the name."""
    name = path.name.lower()
    if path.is_dir():
        if containers.is_zarr(path) or name.endswith(".zarr"):
            return containers.read_zarr(path)
        return containers.read_folder(path, read)
    if name.endswith(".npy"):
        return np.load(path, mmap_mode="r", allow_pickle=False), None, []
    if name.endswith(containers.ITK):
        return containers.read_itk(path)
    if name.endswith(containers.PICTURES):
        return containers.read_picture(path)
    if name.endswith((".raw", ".bin", ".dat")):
        raise ValueError(
            f"{path.name} does not say its shape: save it as .npy by np.save('volume.npy', "
            f"np.fromfile('{path.name}', 'u1').reshape(depth, height, width))"
        )
    if name.endswith(_OTHERS):
        raise ValueError(f"{path.name} is of a kind that is not read here: export it as TIFF")
    return read_tiff(path)


def _unreadable(path: Path, error: Exception) -> ValueError:
    if isinstance(error, MemoryError):
        return ValueError(f"{path.name} does not fit into memory: save it as zarr, or a part of it")
    return ValueError(
        f"{path.name} is not a file that can be read (TIFF, .npy, zarr, NRRD, MHA, HDF5, PNG or a "
        "folder of slices), or is incomplete: fetch or save it again"
    )


def encode_labels(values: np.ndarray, labels: list[float] | None = None) -> np.ndarray:
    """Phases 0, 1, 2 ... of an image whose phases have other numbers, such as 0, 85 and 170.

    Args:
        values: Segmented image or volume of any numeric type.
        labels: The value of phase 0, 1, ...; None for the sorted values that occur.

    Returns:
        ``uint8`` of the same shape.

    Raises:
        ValueError: for NaN, unknown values, or so many that it must be a grey image.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "buif":
        raise ValueError(f"phases must be numbers, not {values.dtype}")
    if values.size == 0:
        raise ValueError(f"the image is empty: its shape is {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("the image has NaN or infinite values: mask or fill them first")
    found = np.unique(values)
    if labels is None:
        if len(found) > MAX_PHASES:
            raise ValueError(f"{len(found)} different values look grey: segment the image first")
        labels = found.tolist()
    unknown = np.setdiff1d(found, labels)
    if unknown.size:
        raise ValueError(
            f"value {unknown[0]} ({(values == unknown[0]).sum()} of {values.size}) is none of "
            f"{list(labels)}: name every value in labels, or remove stray ones"
        )
    order = np.argsort(labels)
    return order[np.searchsorted(np.asarray(labels)[order], values)].astype(np.uint8)


def read_labels(path: str | Path, labels: list[float] | None = None) -> np.ndarray:
    """Read a segmented image or volume of any kind of file as phases 0, 1, 2 ...

    Args:
        path: As in :func:`read`. A stack of one image is an image.
        labels: As in :func:`encode_labels`.

    Returns:
        ``uint8`` ``(H, W)`` or ``(D, H, W)``.

    Raises:
        ValueError: as in :func:`read`, or if it is grey.
    """
    image = read(path)
    try:
        return encode_labels(np.asarray(image.values), labels)
    except ValueError as error:
        raise ValueError(_named(image.path, error)) from None


def phase_values(image: Image, phases: int | None = None) -> list[float]:
    """The value of each phase of a segmented volume; reads it once, plane by plane.

    Args:
        image: Of :func:`read`.
        phases: How many are wanted, if it is known. Values below it are taken for phases as they
            are; other values must be as many.

    Raises:
        ValueError: if it is grey, or has others than the phases that are wanted.
    """
    try:
        found = _values_that_occur(image.values)
    except ValueError as error:
        raise ValueError(_named(image.path, error)) from None
    if not phases or set(found) == set(range(phases)):
        return found
    if set(found) <= set(range(phases)):
        return list(range(phases))
    if len(found) != phases:
        raise ValueError(
            f"{image.path.name} has the values {', '.join(f'{v:g}' for v in found)}, but {phases} "
            "phases are needed: give the value of each phase as labels"
        )
    return found


def as_phases(image: Image, labels: list[float]) -> Image:
    """A segmented volume of any size as phases 0, 1, 2 ..., made as its planes are read.

    Args:
        image: Of :func:`read`, a volume.
        labels: As in :func:`encode_labels`.
    """
    if np.dtype(image.values.dtype) == np.uint8 and list(labels) == list(range(len(labels))):
        return image

    def plane(number: int) -> np.ndarray:
        return encode_labels(np.asarray(image.values[number]), labels)

    values = Planes(plane, image.values.shape, np.dtype(np.uint8))
    return Image(values, image.voxel_size, image.notes, image.path)


def _values_that_occur(values: Any) -> list[float]:
    """Sorted values of a volume that is read plane by plane; of a grey one, only a few more."""
    found: set[float] = set()
    for number in range(values.shape[0]):
        plane = np.asarray(values[number])
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            raise ValueError("the image has NaN or infinite values: mask or fill them first")
        found |= set(np.unique(plane).tolist())
        if len(found) > MAX_PHASES:
            raise ValueError(f"{len(found)} different values look grey: segment the image first")
    return sorted(found)


def _named(path: Path, error: ValueError) -> str:
    return str(error) if str(error).startswith(path.name) else f"{path.name}: {error}"


def write(
    path: str | Path,
    values: np.ndarray,
    voxel_size: tuple[float | None, ...] | None = None,
    description: str = "",
) -> None:
    """Write an image or a volume, whole or not at all.

    Args:
        path: ``.tif`` (as ImageJ reads it), ``.ome.tif``, ``.zarr``, ``.ome.zarr`` (0.5), ``.nrrd``
            or ``.mha``.
        values: ``(H, W)`` or ``(D, H, W)``.
        voxel_size: Micrometres along each axis.
        description: How it was made, kept in the file.

    Raises:
        ValueError: for another kind of file.
        OSError: if it cannot be written; a former file is untouched.
    """
    path, values = Path(path), np.asarray(values)
    partial, _ = beside(path)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        create(partial, values.shape, 128, values.dtype.str, voxel_size, description)
        out = reopen(partial, values.shape)
        out[...] = values
        if hasattr(out, "flush"):
            out.flush()
        del out
        if path.suffix == ".zarr":
            remove(path)
        partial.replace(path)
    finally:
        remove(partial)


def create(
    path: Path,
    shape: tuple[int, ...],
    edge: int,
    dtype: str = "u1",
    voxel_size: tuple[float | None, ...] | None = None,
    description: str = "",
) -> None:
    """An empty output, to be filled through :func:`reopen`.

    Args:
        path: As in :func:`write`.
        shape: Of its values.
        edge: Of the chunks of a zarr array, in voxels.
        dtype: Of its values.
        voxel_size, description: As in :func:`write`.
    """
    remove(path)
    sizes = tuple(voxel_size) if voxel_size and any(voxel_size) else (None,) * len(shape)
    if len(sizes) != len(shape):
        raise ValueError(f"voxel_size={sizes} should have a length for each axis of {shape}")
    if path.suffix == ".zarr":
        _create_zarr(path, shape, edge, dtype, sizes, description)
    elif path.suffix in (".nrrd", ".mha"):
        _create_itk(path, shape, dtype, sizes, description)
    else:
        _create_tiff(path, shape, dtype, sizes, description)


def _create_zarr(
    path: Path, shape: tuple[int, ...], edge: int, dtype: str, sizes: tuple, description: str
) -> None:
    import zarr

    names = "zyx"[-len(shape) :]
    about: dict[str, Any] = {"description": description} if description else {}
    chunks = tuple(min(edge, n) for n in shape)
    options: dict[str, Any] = dict(
        shape=shape, chunks=chunks, dtype=np.dtype(dtype).newbyteorder("="), dimension_names=names
    )
    if not path.name.endswith(".ome.zarr"):
        if any(sizes):
            about |= {"voxel_size_um": list(sizes)}
        zarr.create_array(path, attributes=about, **options)
        sync(path / "zarr.json")
        return
    axis = [
        {"name": n, "type": "space"} | ({"unit": "micrometer"} if any(sizes) else {}) for n in names
    ]
    scale = [{"type": "scale", "scale": [float(s or 1) for s in sizes]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    image = {"name": path.name.split(".")[0] or "volume", "axes": axis, "datasets": levels}
    ome = {"version": "0.5", "multiscales": [image]}
    group = zarr.create_group(path, attributes={"ome": ome} | about)
    group.create_array("0", **options)
    sync(path / "zarr.json")
    sync(path / "0" / "zarr.json")


def _create_tiff(
    path: Path, shape: tuple[int, ...], dtype: str, sizes: tuple, description: str
) -> None:
    import tifffile

    kind, axes = np.dtype(dtype), "ZYX"[-len(shape) :]
    large = np.prod(shape, dtype=float) * kind.itemsize > _CLASSIC
    depth, across = sizes[:-2], sizes[-2:]
    ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    if ome or large or kind.str[1:] not in ("u1", "u2", "f4"):
        about = {"axes": axes, "UUID": f"{uuid.uuid5(uuid.NAMESPACE_OID, description)}"}
        about |= {"Name": path.name.removeprefix(".partial-"), "Description": description}
        for letter, size in zip(axes, sizes, strict=True):
            if size:
                about |= {f"PhysicalSize{letter}": size, f"PhysicalSize{letter}Unit": "\u00b5m"}
        options: dict[str, Any] = dict(ome=True, bigtiff=large, metadata=about)
    else:
        about = {"axes": axes} | ({"Info": description} if description else {})
        if any(sizes):
            about |= {"unit": "um"} | ({"spacing": depth[0]} if any(depth) else {})
        options = dict(imagej=True, metadata=about)
        if all(across):
            options |= dict(resolution=(1 / across[1], 1 / across[0]), resolutionunit="NONE")
    tifffile.memmap(path, shape=shape, dtype=kind, photometric="minisblack", **options)
    if hasattr(os, "posix_fallocate"):  # a full disk under a memory map kills the process
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    sync(path)


def _create_itk(
    path: Path, shape: tuple[int, ...], dtype: str, sizes: tuple, description: str
) -> None:
    """An NRRD or MHA file: a header of text, then the voxels."""
    kind = np.dtype(dtype).newbyteorder("<")
    if kind.str[1:] not in _ITK_TYPES:
        raise ValueError(f"{path.name} cannot hold {kind}: name the output .tif or .zarr")
    nrrd, meta = _ITK_TYPES[kind.str[1:]]
    spacing = " ".join(repr(float(s) / 1000 if s else 1.0) for s in sizes[::-1])  # millimetres
    counts, n = " ".join(str(n) for n in shape[::-1]), len(shape)
    text = " ".join(description.split())
    if path.suffix == ".nrrd":
        units = f"units: {' '.join([chr(34) + 'mm' + chr(34)] * n)}\n" if any(sizes) else ""
        head = f"NRRD0004\n# {text}\ntype: {nrrd}\ndimension: {n}\nsizes: {counts}\n"
        head += f"spacings: {spacing}\n{units}endian: little\nencoding: raw\n\n"
    else:
        head = f"ObjectType = Image\nNDims = {n}\nComment = {text}\nBinaryData = True\n"
        head += f"BinaryDataByteOrderMSB = False\nElementSpacing = {spacing}\nDimSize = {counts}\n"
        head += f"ElementType = {meta}\nElementDataFile = LOCAL\n"
    with open(path, "wb") as file:
        file.write(head.encode("ascii", "replace"))
        file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
    sync(path)


def reopen(path: Path, shape: tuple[int, ...]) -> Any:
    """An output that :func:`create` made, to write to."""
    if path.suffix == ".zarr":
        import zarr

        node = zarr.open(path, mode="r+")
        return node if isinstance(node, zarr.Array) else node["0"]
    if path.suffix in (".nrrd", ".mha"):
        return _reopen_itk(path)
    import tifffile

    return tifffile.memmap(path, mode="r+").reshape(shape)


def _reopen_itk(path: Path) -> np.memmap:
    end = b"\n\n" if path.suffix == ".nrrd" else b"ElementDataFile = LOCAL\n"
    with open(path, "rb") as file:
        head = file.read(65536)
    start = head.index(end) + len(end)
    lines = head[:start].decode("ascii").replace(" = ", ": ").splitlines()
    about = dict(line.split(": ", 1) for line in lines if ": " in line)
    shape = tuple(int(n) for n in about.get("sizes", about.get("DimSize", "")).split())[::-1]
    kinds = {name: code for code, names in _ITK_TYPES.items() for name in names}
    dtype = "<" + kinds[about.get("type", about.get("ElementType", ""))]
    return np.memmap(path, dtype, "r+", start, shape)


def sync(path: Path) -> None:
    """Wait until a file is on the disk; zarr writes none for a chunk of zeros."""
    if path.exists():
        with open(path, "r+b") as file:
            os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_output(
    source: str | Path | Sequence[str | Path], target: str | Path, overwrite: bool = True
) -> None:
    """Raise a ValueError if an output cannot be written, or would replace an input.

    Args:
        source: The input, or several.
        target: The output.
        overwrite: Whether an output that is there already may be replaced.
    """
    target = Path(target)
    beside(target)
    sources = [source] if isinstance(source, str | Path) else source
    if target.resolve() in [Path(path).resolve() for path in sources]:
        raise ValueError(f"{target} is the input itself: choose another name for the output")
    if target.exists() and not overwrite:
        raise ValueError(f"{target} is there already: choose another name, or add --overwrite")
    folder = next(p for p in target.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{folder} cannot be written to: choose another folder for {target.name}")


def beside(out_path: Path) -> tuple[Path, Path]:
    """Where an output grows, and where its journal is, until it is complete.

    Raises:
        ValueError: if it is to be another kind of file.
    """
    if out_path.suffix.lower() not in OUTPUTS:
        raise ValueError(f"{out_path.name} must end in {', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}")
    partial = out_path.absolute().with_name(f".partial-{out_path.name}")
    return partial, partial.with_name(f".journal-{out_path.name}")


@contextlib.contextmanager
def finishing(out_path: Path, partial: Path, journal: Any) -> Iterator[None]:
    """Around the work on an output: it gets its name when all is done; what is done is kept.

    Args:
        out_path: The output.
        partial: Where it grows.
        journal: Its :class:`srlib.inference.journal.Journal`.

    Raises:
        OSError: one sentence, if the output cannot be written.
        ValueError: if a later run has taken over.
    """
    try:
        journal.begin()
        yield
        journal.check()
        if out_path.suffix == ".zarr":
            for stray in partial.rglob("*.partial"):  # of a chunk whose writer was killed
                stray.unlink(missing_ok=True)
            remove(out_path)
        partial.replace(out_path)
        journal.path.unlink()
    except OSError as error:
        if error.errno is None:  # not about a file
            raise
        then = "and call again to go on from there" if journal.done else "or choose another folder"
        raise OSError(
            f"cannot write {out_path} ({error.strerror}): free some space {then}"
        ) from None
    finally:
        if not journal.done and journal.is_ours():
            remove(partial)
            remove(journal.path)


def find_file(name: str) -> Path | None:
    """A file in the folder ``$SRLIB_DATA`` or in ``data/raw``; None if it is in neither.

    Its name is added to the file ``$SRLIB_ASKED``, if that is set: so ``make book`` knows which
    chapters a file that is fetched later would change.
    """
    if asked := os.environ.get("SRLIB_ASKED"):
        with open(asked, "a", encoding="utf-8") as names:
            names.write(f"{name}\n")
    folders = [os.environ.get("SRLIB_DATA"), Path(__file__).parents[2] / "data" / "raw"]
    found = (Path(folder).expanduser() / name for folder in folders if folder)
    return next((path for path in found if path.is_file()), None)
