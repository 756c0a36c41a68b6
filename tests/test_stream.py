"""Streaming from file to file: no voxel depends on memory or on the number of workers."""

import contextlib
import ctypes
import gc
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner
from streaming import LR, TARGETS, WHOLE, model, names, read, write
from test_infer import Nearest, labels

from srlib import cli, models
from srlib.inference import streaming, superres
from srlib.inference.journal import Journal
from srlib.inference.streaming import superres_to_file

pytest_plugins = ("streaming",)  # its fixtures


def test_the_tiles_of_these_tests_differ_from_seed_to_seed_and_model_to_model():
    assert min(np.bincount(WHOLE.ravel()) / WHOLE.size) > 0.05
    assert (superres.superres(model(), LR, seed=6) != WHOLE).mean() > 0.01
    assert (superres.superres(model(1), LR, seed=5) != WHOLE).mean() > 0.01


# Files


@pytest.mark.parametrize("source", [".tif", ".zarr"])
@pytest.mark.parametrize("target", [".tif", ".tiff", ".zarr"])
def test_streaming_equals_memory(tmp_path, source, target):
    path = write(tmp_path / f"lr{source}", LR)
    out = superres_to_file(model(), path, tmp_path / "new" / f"sr{target}", seed=5, tile=4)
    assert np.array_equal(read(out), WHOLE)
    assert names(out.parent) == [out.name]


def test_the_output_cannot_be_the_input(lr_path):
    with pytest.raises(ValueError, match="the input itself"):
        superres_to_file(model(), lr_path, lr_path)
    assert np.array_equal(tifffile.imread(lr_path), LR)


@TARGETS
def test_an_interrupted_run_leaves_the_former_file(tmp_path, lr_path, made, target):
    out = superres_to_file(model(), lr_path, tmp_path / f"sr{target}", tile=4)
    before, made.stop_after, made.calls = read(out), 2, 0
    with pytest.raises(KeyboardInterrupt):
        superres_to_file(model(), write(lr_path, LR[:8]), out, tile=4)
    assert np.array_equal(read(out), before)
    made.stop_after = None
    superres_to_file(model(), lr_path, out, tile=4)
    assert read(out).shape == (12, 22, 14)


# Dask


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(**options) as cluster, Client(cluster) as connected:
        yield connected


@pytest.mark.parametrize("source", [".tif", ".zarr"])
def test_a_dask_cluster_makes_the_same_voxels(tmp_path, client, made, source):
    net, path = model().train(), write(tmp_path / f"lr{source}", LR)
    out = superres_to_file(net, path, tmp_path / "out" / "sr.zarr", 5, 4, client=client)
    assert np.array_equal(read(out), WHOLE) and names(out.parent) == [out.name]
    assert zarr.open_array(out).chunks == (8, 8, 8)  # a tile each: none is written by two
    assert net.training and made.calls == 0  # all on the workers


def test_a_dask_run_goes_on_and_can_be_interrupted(interrupted, client, made, monkeypatch):
    arguments = interrupted(".zarr", 3)
    from distributed import Future

    tasks, real, note = [], client.map, Journal._note

    def spy(function, items, **options):
        assert isinstance(options["model"], Future)  # it is sent once, not with each tile
        tasks.append(len(items))
        return real(function, items, **options)

    def stop(self, numbers, flush):
        note(self, numbers, flush)
        if len(self.done) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(client, "map", spy)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Journal, "_note", stop)
        superres_to_file(*arguments, client=client)
    assert np.array_equal(read(superres_to_file(*arguments, client=client)), WHOLE)
    assert tasks == [15, 10] and made.calls == 0
    assert names(arguments[2].parent) == ["sr.zarr"]


def test_a_task_of_an_earlier_run_writes_nothing(interrupted, made):
    """A worker may still compute a tile of a run that is over, for another seed."""
    net, lr_path, out, _, tile = interrupted(".zarr", 3)
    partial = out.with_name(".partial-sr.zarr")
    before = Journal(out.with_name(".journal-sr.zarr"), "another run")
    how = {"seed": 6, "tile": tile, "crop": 1}
    with pytest.raises(ValueError, match="taken over"):
        item, rest = (0, (1, 1, 1)), {"model": net, "how": how, "journal": before}
        streaming._make_there(item, lr_path, [0, 1, 2], partial, **rest)
    superres_to_file(net, lr_path, out, 5, tile)
    assert np.array_equal(read(out), WHOLE)


# The command


def test_the_command_line(tmp_path, lr_path):
    weights, out = models.save(model(), tmp_path / "w.safetensors"), tmp_path / "sr.zarr"
    run, words = CliRunner().invoke, ["--model", str(weights), "-o", str(out)]
    done = run(cli.main, ["superres", str(lr_path), *words, "--seed", "5", "--tile", "4"])
    told = f"volume: {out}\nno report: name the fine images, too, to get one\n"
    assert done.exit_code == 0 and done.stdout == told
    assert np.array_equal(read(out), WHOLE)
    words[-1] = str(tmp_path / "other.zarr")
    done = run(cli.main, ["superres", str(tmp_path / "no.tif"), *words])
    assert done.exit_code == 2
    assert re.fullmatch("Error: there is no file .*: check the name.*\n", done.stderr)


# Memory


def peak_of(call) -> int:
    """Largest growth of the process's own memory during a call, in bytes."""

    def anonymous() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("RssAnon:")[1].split()[0])

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # give back what earlier tests left over
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    start, found, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.003):
            found.append(anonymous() - start)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()
    return max(found)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("target", [".tif", ".zarr"])
def test_streaming_never_holds_the_volume(tmp_path, target):
    lr = labels((34, 34, 146), 2)
    path, model = write(tmp_path / "lr.tif", lr), Nearest(8, 2)
    size = 8**3 * 32 * 32 * 144
    small = write(tmp_path / "small.tif", lr[:9, :9, :9])
    superres_to_file(model, small, tmp_path / f"small-sr{target}", tile=8)
    held = peak_of(lambda: superres.superres(model, lr, tile=8))
    names = (f"first{target}", f"second{target}")  # what else the process takes, it takes once
    streamed = [
        peak_of(lambda n=name: superres_to_file(model, path, tmp_path / n, tile=8))
        for name in names
    ]
    assert held > 0.9 * size
    assert min(streamed) < 0.5 * size
