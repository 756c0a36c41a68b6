"""Volumes larger than memory: super-resolve from file to file, tile by tile."""

import os
import shutil
from pathlib import Path

import numpy as np
from torch import nn

from srlib.files import open_volume
from srlib.infer import TILE, check_volume, output_shape, tiles


def superres_to_file(
    model: nn.Module,
    lr_path: str | Path,
    out_path: str | Path,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    progress: bool | None = None,
) -> Path:
    """Super-resolve a volume on disk to another one; neither is ever in memory whole.

    Args:
        model: Trained generator.
        lr_path: Coarse phases 0..m-1, ``uint8``: an uncompressed TIFF or a zarr array.
        out_path: ``.tif`` (BigTIFF where needed) or ``.zarr``; appears only when complete.
        seed, tile, crop, progress: As in :func:`tiles`.

    Raises:
        ValueError: if the input does not fit.
        OSError: if the output cannot be written.
    """
    lr, out_path = open_volume(lr_path), Path(out_path)
    check_volume(model, lr.shape, crop, tile)
    if out_path.suffix not in (".tif", ".tiff", ".zarr"):
        raise ValueError(f"{out_path.name} must end in .tif, .tiff or .zarr")
    if out_path.resolve() == Path(lr_path).resolve():
        raise ValueError(f"{out_path} is the input itself: choose another name for the output")
    partial = out_path.with_name(f".partial-{out_path.name}")
    shape = output_shape(model, lr.shape, crop)
    try:
        out_path.parent.mkdir(parents=True, exist_ok=True)
        if out_path.suffix == ".zarr":
            import zarr

            edge = int(model.scale_factor) * (tile or TILE)
            chunks = tuple(min(edge, n) for n in shape)
            out = zarr.create_array(partial, shape=shape, chunks=chunks, dtype="u1", overwrite=True)
        else:
            import tifffile

            big = np.prod(shape, dtype=float) > 4e9
            out = tifffile.memmap(partial, shape=shape, dtype="u1", bigtiff=big)
            _reserve(partial)
        for where, labels in tiles(model, lr, seed, tile, crop, None, progress):
            out[where] = labels
        if out_path.suffix == ".zarr":
            _remove(out_path)
        else:
            out.flush()
        partial.replace(out_path)
    except OSError as error:
        raise OSError(
            f"cannot write {out_path} ({error.strerror}): free some space or choose another folder"
        ) from None
    finally:
        _remove(partial)
    return out_path


def _reserve(path: Path) -> None:
    """Claim the disk space of a file: a full disk under a memory map kills the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
