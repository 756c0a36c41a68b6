"""Read label images and volumes; write outputs piece by piece."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srlib.metrics.checks import MAX_PHASES


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
    """Read a segmented TIFF (also BigTIFF), ``.npy`` or zarr array as phases 0, 1, 2 ...

    Args:
        path: The file. A stack of one image is an image.
        labels: As in :func:`encode_labels`.

    Returns:
        ``uint8`` ``(H, W)`` or ``(D, H, W)``.

    Raises:
        ValueError: if it is missing, damaged, in colour, grey, or of other dimensions.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file {path.absolute()}: check the name")
    colour = False
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".zarr":
            import zarr

            values = np.asarray(zarr.open_array(path, mode="r"))
        else:
            values, colour = _read_tiff(path)
    except Exception:
        raise ValueError(
            f"{path.name} is not a TIFF, .npy or .zarr file that can be read, or is incomplete: "
            "fetch or save it again"
        ) from None
    if colour:
        raise ValueError(f"{path.name} is in colour: save it as one number per phase")
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim not in (2, 3):
        raise ValueError(f"{path.name} has the shape {values.shape}: a 2D or 3D image is needed")
    try:
        return encode_labels(values, labels)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _read_tiff(path: Path) -> tuple[np.ndarray, bool]:
    """Values, and whether they are colours; missing pages, which tifffile only logs, are raised."""
    import tifffile

    errors, handler, log = [], logging.Handler(logging.ERROR), logging.getLogger("tifffile")
    handler.emit = errors.append
    log.addHandler(handler)
    try:
        with tifffile.TiffFile(path) as tiff:
            values, axes = tiff.series[0].asarray(), tiff.series[0].axes
            if len(tiff.series) > 1:  # written page by page or piece by piece
                pieces = [series.asarray() for series in tiff.series]
                values = np.concatenate([p[None] if p.ndim == 2 else p for p in pieces])
    finally:
        log.removeHandler(handler)
    if errors:
        raise ValueError(errors[0].getMessage())
    return values, "S" in axes


def open_volume(path: str | Path):
    """A volume on disk as something that can be sliced: TIFF (memory-mapped) or zarr array.

    Raises:
        ValueError: if it cannot be read in parts: a compressed TIFF, or no volume at all.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file {path.absolute()}: check the name")
    try:
        if path.suffix == ".zarr":
            import zarr

            return zarr.open_array(path, mode="r")
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            if "S" in tiff.series[0].axes or len(tiff.series) > 1:
                raise ValueError("in colour, or in several pieces")
        return tifffile.memmap(path, mode="r")
    except Exception:
        raise ValueError(
            f"{path.name} cannot be read in parts: save it as zarr or as one uncompressed TIFF, "
            f"with tifffile.imwrite('plain.tif', tifffile.imread('{path.name}'))"
        ) from None


def create(path: Path, shape: tuple[int, ...], edge: int, dtype: str = "u1") -> None:
    """An empty output; a zarr array in chunks of ``edge`` voxels."""
    remove(path)
    if path.suffix == ".zarr":
        import zarr

        chunks = tuple(min(edge, n) for n in shape)
        zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype)
        sync(path / "zarr.json")
    else:
        import tifffile

        big = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize > 4e9
        tifffile.memmap(path, shape=shape, dtype=dtype, bigtiff=big)
        if hasattr(os, "posix_fallocate"):  # a full disk under a memory map kills the process
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        sync(path)


def reopen(path: Path, shape: tuple[int, ...]):
    """An output that :func:`create` made, to write to."""
    if path.suffix == ".zarr":
        import zarr

        return zarr.open_array(path, mode="r+")
    import tifffile

    return tifffile.memmap(path, mode="r+").reshape(shape)


def sync(path: Path) -> None:
    """Wait until a file is on the disk; zarr writes none for a chunk of zeros."""
    if path.exists():
        with open(path, "r+b") as file:
            os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_output(source: str | Path, target: str | Path) -> None:
    """Raise a ValueError if an output is of an unknown kind, or would replace its input."""
    beside(Path(target))
    if Path(target).resolve() == Path(source).resolve():
        raise ValueError(f"{target} is the input itself: choose another name for the output")


def beside(out_path: Path) -> tuple[Path, Path]:
    """Where an output grows, and where its journal is, until it is complete.

    Raises:
        ValueError: if it is to be another kind of file.
    """
    if out_path.suffix not in (".tif", ".tiff", ".zarr"):
        raise ValueError(f"{out_path.name} must end in .tif, .tiff or .zarr")
    partial = out_path.absolute().with_name(f".partial-{out_path.name}")
    return partial, partial.with_name(f".journal-{out_path.name}")


@contextlib.contextmanager
def finishing(out_path: Path, partial: Path, journal) -> Iterator[None]:
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
