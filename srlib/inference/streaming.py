"""Volumes larger than memory: super-resolve from file to file, tile by tile.

The tiles that are safe on disk are noted in a journal beside the unfinished output, so that a run
that was interrupted can go on. The tiles of a zarr output are its chunks, so that several processes
can write it together.
"""

import contextlib
import copy
import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import srlib
from srlib.data import io
from srlib.inference import memory, tiling
from srlib.inference.journal import Journal
from srlib.physics.downsampling import exact_scale


def superres_to_file(
    model: nn.Module,
    lr_path: str | Path,
    out_path: str | Path,
    seed: int = 0,
    tile: int | None = None,
    crop: int = 1,
    progress: bool | None = None,
    client: Any = None,
    labels: list[float] | None = None,
    voxel_size: tuple[float | None, ...] | None = None,
) -> Path:
    """Super-resolve a volume on disk to another one; neither is ever in memory whole.

    A run that was interrupted goes on when it is called again with the same arguments, and no voxel
    depends on that. What is done lies in ``.partial-NAME`` and ``.journal-NAME`` beside the output
    until it is complete. Another model, input, seed, tile, crop or device starts afresh.

    Args:
        model: Trained generator.
        lr_path: Coarse phases, a file as for :func:`srlib.data.io.read`.
        out_path: A file as for :func:`srlib.data.io.write`, zarr with a chunk for each tile;
            appears only when complete. Phases ``uint8``, shape as
            :func:`srlib.inference.tiling.output_shape` says; the voxel size is that of the input
            over the scale factor.
        seed, tile, crop: As in :func:`srlib.inference.tiling.tile_at`.
        progress: Show a bar, which starts at the tiles that are done; None for only when there is
            more than a moment's work.
        client: A ``dask.distributed.Client`` whose workers make the tiles of a ``.zarr`` output.
            They need srlib, and the files under the same paths.
        labels: The value of each coarse phase in the file; None for 0, 1, 2 ... or as many values
            as the model has coarse phases.
        voxel_size: Of the input, micrometres; None for what the file says.

    Raises:
        ValueError: if the input does not fit, or a later run has taken over the same output.
        MemoryError: if a tile does not fit into memory.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    lr_path, out_path = Path(lr_path).absolute(), Path(out_path)
    _check_output(lr_path, out_path, client)
    image = io.read(lr_path)
    tiling.check_volume(model, image.values.shape, crop, tile)
    tiling.check_memory(model, image.values.shape, tile, crop, whole=False)
    labels = io.phase_values(image, model.n_lr) if labels is None else labels
    lr = io.as_phases(image, labels).values
    how = {"seed": int(seed), "tile": memory.tile_edge(model, tile), "crop": int(crop)}
    partial, noted = io.beside(out_path)
    journal = Journal(noted, _key(model, lr, how))
    if not partial.exists():
        journal.done.clear()
    shape = tiling.output_shape(model, lr.shape, crop)
    tiles = list(enumerate(tiling.corners(lr.shape, how["tile"], crop)))
    left = [(number, corner) for number, corner in tiles if number not in journal.done]
    with io.finishing(out_path, partial, journal):
        if not journal.done:
            edge = int(exact_scale(model.scale_factor) * how["tile"])
            sizes = fine_voxel_size(voxel_size or image.voxel_size, model.scale_factor)
            io.create(partial, shape, edge, "u1", sizes, _description(model, how))
        out = io.reopen(partial, shape)
        rest = {"model": model, "how": how, "journal": journal}
        if client is None:
            work = (_make(item, lr=lr, out=out, **rest) for item in left)
        else:
            files = {"lr_path": lr_path, "labels": labels, "out_path": partial}
            work = _spread(client, left, **files, **rest)
        with contextlib.closing(work):
            done = len(tiles) - len(left)
            shown = tiling.bar(work, lr.shape, progress, initial=done, total=len(tiles))
            journal.follow(shown, getattr(out, "flush", None))
    return out_path


def fine_voxel_size(
    voxel_size: tuple[float | None, ...] | None, scale_factor: float
) -> tuple[float | None, ...] | None:
    """The voxel size of an output: that of the coarse volume over the scale factor."""
    return voxel_size and tuple(size and size / scale_factor for size in voxel_size)


def _description(model: nn.Module, how: dict) -> str:
    """How an output was made, for the file itself."""
    weights = hashlib.sha256()
    for tensor in model.state_dict().values():
        weights.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    options = ", ".join(f"{name} {value}" for name, value in how.items())
    return (
        f"srlib {srlib.__version__} superres, scale factor {model.scale_factor}, model sha256 "
        f"{weights.hexdigest()[:16]}, {options}"
    )


def _check_output(lr_path: Path, out_path: Path, client: Any) -> None:
    io.check_output(lr_path, out_path)
    if client is not None and not hasattr(client, "scheduler_info"):
        raise ValueError(f"client must be a dask.distributed.Client, not {client!r}")
    if client is not None and out_path.suffix != ".zarr":
        raise ValueError(
            "several processes cannot write one TIFF safely: name the output "
            f"{out_path.with_suffix('.zarr').name}, or leave out the client"
        )


def _key(model: nn.Module, lr: Any, how: dict) -> str:
    """A name for all that decides about the voxels; reads and checks the whole input for it."""
    device = next(model.parameters()).device.type
    about = (type(model).__name__, getattr(model, "config", None), model.scale_factor, device)
    found = hashlib.sha256(repr((about, torch.__version__, lr.shape, how)).encode())
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    for start in range(0, lr.shape[0], 32):
        part = np.ascontiguousarray(lr[start : start + 32])
        tiling.check_labels(model, part)
        found.update(part.data)
    return found.hexdigest()


def _make(item: tuple, model: nn.Module, lr: Any, out: Any, how: dict, journal: Journal) -> int:
    """Compute one tile and write it; a chunk is on disk after that, not only on its way."""
    number, corner = item
    where, labels = tiling.tile_at(model, lr, corner, **how)
    journal.check()
    out[where] = labels
    if hasattr(out, "chunks"):
        index = tuple(w.start // n for w, n in zip(where, out.chunks, strict=True))
        io.sync(out.store.root / out.path / out.metadata.encode_chunk_key(index))
    return number


def _make_there(item: tuple, lr_path: Path, labels: list, out_path: Path, **rest: Any) -> int:
    """The same on a worker of a Dask cluster, which opens the files itself."""
    lr = io.as_phases(io.read(lr_path), labels).values
    return _make(item, lr=lr, out=io.reopen(out_path, ()), **rest)


def _spread(
    client: Any, left: list[tuple], model: nn.Module, **rest: Any
) -> Generator[int, None, None]:
    """The same on all workers, a task for each tile."""
    from distributed import as_completed

    # The model travels once, not with each tile; threads of a worker share it, in one mode.
    model = client.submit(nn.Module.eval, copy.deepcopy(model), pure=False)
    tasks = as_completed(client.map(_make_there, left, model=model, pure=False, **rest))
    try:
        for task in tasks:
            yield task.result()
    finally:
        client.cancel(list(tasks.futures))
