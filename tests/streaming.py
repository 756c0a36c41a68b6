"""What the tests of streaming share: a volume, a model, and runs that are interrupted."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from test_infer import labels

from srlib import models
from srlib.inference import superres, tiling
from srlib.inference.streaming import superres_to_file

TARGETS = pytest.mark.parametrize("target", [".tif", ".zarr"])
LR = labels((11, 13, 9))  # 18 tiles of 4 coarse voxels, some of them cut


def model(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return models.SuperResLite(3, 3, 2, width=4)


def write(path: Path, volume: np.ndarray) -> Path:
    if path.suffix == ".zarr":
        store = zarr.create_array(path, shape=volume.shape, chunks=(5, 4, 7), dtype=volume.dtype)
        store[:] = volume
    else:
        tifffile.imwrite(path, volume)
    return path


def read(path: Path) -> np.ndarray:
    return zarr.open_array(path, mode="r")[:] if path.suffix == ".zarr" else tifffile.imread(path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Counted:
    """Stands for ``tile_at`` and counts its calls; stops before one of them, as Ctrl-C does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real, self.calls, self.stop_after = tiling.tile_at, 0, None
        monkeypatch.setattr(tiling, "tile_at", self)
        monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, and no test cuts the power

    def __call__(self, *args, **options):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return self.real(*args, **options)


def interrupt(made: Counted, lr_path: Path, out: Path, tiles: int) -> tuple:
    """Leave a run after so many tiles; gives its arguments."""
    arguments, made.stop_after = (model(), lr_path, out, 5, 4), tiles
    with pytest.raises(KeyboardInterrupt):
        superres_to_file(*arguments)
    assert made.calls == tiles and not out.exists()
    made.calls, made.stop_after = 0, None
    return arguments


@pytest.fixture
def made(monkeypatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def lr_path(tmp_path) -> Path:
    return write(tmp_path / "lr.tif", LR)


@pytest.fixture
def interrupted(tmp_path, lr_path, made):
    return lambda target, tiles: interrupt(made, lr_path, tmp_path / "out" / f"sr{target}", tiles)


WHOLE = superres.superres(model(), LR, seed=5, tile=4)
