"""Volumes larger than memory: super-resolve from file to file, tile by tile.

The tiles that are safe on disk are noted in a journal beside the unfinished output, so that a run
that was interrupted can go on. The tiles of a zarr output are its chunks, so that several processes
can write it together.
"""

import contextlib
import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srlib.data import io
from srlib.data.io import open_volume
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
    client=None,
) -> Path:
    """Super-resolve a volume on disk to another one; neither is ever in memory whole.

    A run that was interrupted goes on when it is called again with the same arguments, and no voxel
    depends on that. What is done lies in ``.partial-NAME`` and ``.journal-NAME`` beside the output
    until it is complete. Another model, input, seed, tile, crop or device starts afresh.

    Args:
        model: Trained generator.
        lr_path: Coarse phases 0..m-1, ``uint8``: an uncompressed TIFF or a zarr array.
        out_path: ``.tif`` (BigTIFF where needed), or ``.zarr`` with a chunk for each tile; appears
            only when complete. Phases ``uint8``, shape as
            :func:`srlib.inference.tiling.output_shape` says.
        seed, tile, crop: As in :func:`srlib.inference.tiling.tile_at`.
        progress: Show a bar, which starts at the tiles that are done; None for only when there is
            more than a moment's work.
        client: A ``dask.distributed.Client`` whose workers make the tiles of a ``.zarr`` output.
            They need srlib, and the files under the same paths.

    Raises:
        ValueError: if the input does not fit, or a later run has taken over the same output.
        MemoryError: if a tile does not fit into memory.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    lr, lr_path, out_path = open_volume(lr_path), Path(lr_path).resolve(), Path(out_path)
    tiling.check_volume(model, lr.shape, crop, tile)
    tiling.check_memory(model, lr.shape, tile, crop, whole=False)
    _check_output(lr_path, out_path, client)
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
            io.create(partial, shape, int(exact_scale(model.scale_factor) * how["tile"]))
        out = io.reopen(partial, shape)
        rest = {"model": model, "how": how, "journal": journal}
        if client is None:
            work = (_make(item, lr=lr, out=out, **rest) for item in left)
        else:
            work = _spread(client, left, lr_path=lr_path, out_path=partial, **rest)
        with contextlib.closing(work):
            done = len(tiles) - len(left)
            shown = tiling.bar(work, lr.shape, progress, initial=done, total=len(tiles))
            journal.follow(shown, getattr(out, "flush", None))
    return out_path


def _check_output(lr_path: Path, out_path: Path, client) -> None:
    io.beside(out_path)
    if out_path.resolve() == lr_path:
        raise ValueError(f"{out_path} is the input itself: choose another name for the output")
    if client is not None and not hasattr(client, "scheduler_info"):
        raise ValueError(f"client must be a dask.distributed.Client, not {client!r}")
    if client is not None and out_path.suffix != ".zarr":
        raise ValueError(
            "several processes cannot write one TIFF safely: name the output "
            f"{out_path.with_suffix('.zarr').name}, or leave out the client"
        )


def _key(model: nn.Module, lr, how: dict) -> str:
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
        found.update(part)
    return found.hexdigest()


def _make(item: tuple, model: nn.Module, lr, out, how: dict, journal: Journal) -> int:
    """Compute one tile and write it; a chunk is on disk after that, not only on its way."""
    number, corner = item
    where, labels = tiling.tile_at(model, lr, corner, **how)
    journal.check()
    out[where] = labels
    if hasattr(out, "chunks"):
        index = tuple(w.start // n for w, n in zip(where, out.chunks, strict=True))
        io.sync(out.store.root / out.metadata.encode_chunk_key(index))
    return number


def _make_there(item: tuple, lr_path: Path, out_path: Path, **rest) -> int:
    """The same on a worker of a Dask cluster, which opens the files itself."""
    return _make(item, lr=open_volume(lr_path), out=io.reopen(out_path, ()), **rest)


def _spread(client, left: list[tuple], model: nn.Module, **rest) -> Iterator[int]:
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
