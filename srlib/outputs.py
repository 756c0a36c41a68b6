"""Volumes that are written piece by piece: TIFF files and zarr arrays, made, opened, removed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np


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
        journal: Its :class:`srlib.journal.Journal`.

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
