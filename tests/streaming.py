"""What the tests of streaming share: a volume, a model, and runs that are interrupted."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from test_infer import labels

from srlib import infer, models
from srlib.stream import superres_to_file

TARGETS = pytest.mark.parametrize("target", [".tif", ".zarr"])
LR = labels((11, 13, 9))  # 18 tiles of 4 coarse voxels, some of them cut


def model(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return models.LaptopGenerator(3, 3, 2, width=4)


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
    """Computes tiles and counts them; stops before one of them, as Ctrl-C does."""

    def __init__(self, real) -> None:
        self.real, self.calls, self.stop_after = real, 0, None

    def __call__(self, *args, **options):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return self.real(*args, **options)


@pytest.fixture
def made(monkeypatch) -> Counted:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, and no test cuts the power
    counted = Counted(infer.tile_at)
    monkeypatch.setattr(infer, "tile_at", counted)
    return counted


@pytest.fixture
def lr_path(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "lr.tif", LR)


@pytest.fixture
def interrupted(tmp_path, lr_path, made):
    """Leaves a run after so many tiles; gives its arguments."""

    def leave(target: str, tiles: int) -> tuple:
        made.calls, made.stop_after = 0, tiles
        arguments = (model(), lr_path, tmp_path / "out" / f"sr{target}", 5, 4)
        with pytest.raises(KeyboardInterrupt):
            superres_to_file(*arguments)
        assert made.calls == tiles and not arguments[2].exists()
        made.calls, made.stop_after = 0, None
        return arguments

    return leave


WHOLE = infer.superres(model(), LR, seed=5, tile=4)
