"""A run that was interrupted goes on, and no voxel of its volume depends on that."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from streaming import LR, TARGETS, WHOLE, model, names, read, write
from test_infer import labels

from srlib import models
from srlib.data import io
from srlib.inference import journal, superres, tiling
from srlib.inference.journal import Journal
from srlib.inference.streaming import superres_to_file

pytest_plugins = ("streaming",)  # its fixtures


# Interruption


@TARGETS
@pytest.mark.parametrize("tiles", [1, 7, 17])
def test_an_interrupted_run_goes_on(interrupted, made, tiles, target):
    arguments = interrupted(target, tiles)
    out = superres_to_file(*arguments)
    assert made.calls == 18 - tiles
    assert np.array_equal(read(out), WHOLE)
    assert names(out.parent) == [out.name]


@TARGETS
def test_a_run_may_be_interrupted_again_and_again(interrupted, made, target):
    arguments = interrupted(target, 3)
    for stop_after in (0, 2, 0, 5):
        made.calls, made.stop_after = 0, stop_after
        with pytest.raises(KeyboardInterrupt):
            superres_to_file(*arguments)
    made.calls, made.stop_after = 0, None
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE)
    assert made.calls == 18 - 3 - 2 - 5


@TARGETS
def test_a_run_without_a_tile_leaves_nothing(interrupted, target):
    assert names(interrupted(target, 0)[2].parent) == []


@TARGETS
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "owner, name, call, lost",
    [
        (Journal, "begin", 1, 18),
        (io, "create", 1, 18),
        (io, "reopen", 1, 18),
        (Journal, "is_ours", 5, 17),
        (Journal, "_note", 4, 16),
        (io, "sync", 4, 17),
    ],
)
def test_no_moment_of_an_interruption_harms(
    tmp_path, lr_path, made, monkeypatch, owner, name, call, lost, when, target
):
    """At most ``lost`` tiles are made again, and the volume is right."""
    calls, real = [], getattr(owner, name)

    def stop(*args, **options):
        calls.append(name)
        if len(calls) == call and when == "before":
            raise KeyboardInterrupt
        result = real(*args, **options)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    arguments = (model(), lr_path, tmp_path / "out" / f"sr{target}", 5, 4)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "FLUSH_EVERY", 0)
        patch.setattr(owner, name, stop)
        with contextlib.suppress(KeyboardInterrupt):  # a TIFF syncs less often
            superres_to_file(*arguments)
    made.calls = 0
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE)
    assert made.calls <= lost or len(calls) < call
    assert names(tmp_path / "out") == [f"sr{target}"]


@TARGETS
def test_a_run_interrupted_before_the_last_step_only_takes_that_step(
    tmp_path, lr_path, made, monkeypatch, target
):
    replace = Path.replace

    def stop(path, other):
        if path.name.startswith(".partial"):
            raise KeyboardInterrupt
        return replace(path, other)

    arguments = (model(), lr_path, tmp_path / "out" / f"sr{target}", 5, 4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        superres_to_file(*arguments)
    assert made.calls == 18
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE) and made.calls == 18


@TARGETS
def test_a_full_disk_half_way_keeps_what_is_done(tmp_path, lr_path, made, monkeypatch, target):
    before, real = resource.getrlimit(resource.RLIMIT_FSIZE), made.real

    def fill(*args, **options):
        if made.calls == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        return real(*args, **options)

    made.real = fill
    monkeypatch.setattr(journal, "FLUSH_EVERY", 0)
    arguments = (model(), lr_path, tmp_path / "out" / f"sr{target}", 5, 4)
    try:
        with pytest.raises(OSError, match="free some space and call again to go on") as caught:
            superres_to_file(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(f"cannot write {arguments[2]} (File too large)")
    made.calls, made.real = 0, real
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE) and made.calls == 13
    assert names(tmp_path / "out") == [f"sr{target}"]


def test_a_chunk_that_was_cut_short_is_removed(interrupted):
    arguments = interrupted(".zarr", 7)
    chunk = next(path for path in arguments[2].parent.rglob("c/0/0/*"))
    chunk.with_name("0.5fd3.partial").write_bytes(b"cut")
    out = superres_to_file(*arguments)
    assert not list(out.rglob("*.partial")) and np.array_equal(read(out), WHOLE)


KILLED = """
import sys, time
from srlib import models
from srlib.inference import journal, streaming, tiling

def slow(*args, real=tiling.tile_at, **options):
    time.sleep(0.1)
    return real(*args, **options)

tiling.tile_at, journal.FLUSH_EVERY = slow, 0
streaming.superres_to_file(models.load(sys.argv[1]), sys.argv[2], sys.argv[3], 5, 4)
"""


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@TARGETS
def test_a_killed_run_leaves_no_output_and_goes_on(tmp_path, lr_path, made, target):
    weights, out = (
        models.save(model(), tmp_path / "w.safetensors"),
        tmp_path / "out" / f"sr{target}",
    )
    noted = out.with_name(f".journal-sr{target}")
    command = [sys.executable, "-c", KILLED, weights, lr_path, out]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    try:
        deadline = time.monotonic() + 120
        while len(lines(noted)) < 6 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = len(lines(noted)) - 1
    assert 5 <= done < 18 and not out.exists()
    superres_to_file(models.load(weights), lr_path, out, 5, 4)
    assert made.calls == 18 - done
    assert np.array_equal(read(out), WHOLE) and names(out.parent) == [out.name]


# The journal


@TARGETS
@pytest.mark.parametrize("tail", ["1", "12", "\x00\x003\n", "7 8\n", "²\n", "-1\n", "\n\n"])
def test_a_torn_journal_counts_only_whole_lines(interrupted, made, tail, target):
    arguments = interrupted(target, 1)
    with open(arguments[2].with_name(f".journal-sr{target}"), "a") as file:
        file.write(tail)
    made.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        superres_to_file(*arguments)
    made.calls, made.stop_after = 0, None
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE)
    assert made.calls == 15


@TARGETS
@pytest.mark.parametrize("content", ["", "\n", "0\n1\n", "0" * 40])
def test_a_journal_that_is_no_journal_is_ignored(interrupted, made, content, target):
    arguments = interrupted(target, 5)
    arguments[2].with_name(f".journal-sr{target}").write_text(content)
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE) and made.calls == 18


@TARGETS
def test_a_journal_without_its_output_is_ignored(interrupted, made, target):
    arguments = interrupted(target, 5)
    io.remove(arguments[2].with_name(f".partial-sr{target}"))
    assert np.array_equal(read(superres_to_file(*arguments)), WHOLE) and made.calls == 18


CHANGES = ["weights", "registration", "input", "seed", "tile", "crop"]


@TARGETS
@pytest.mark.parametrize("change", CHANGES)
def test_another_run_starts_afresh(interrupted, made, change, target):
    net, lr_path, out, seed, tile = interrupted(target, 5)
    lr, crop, status = LR, 1, lr_path.stat()
    if change == "weights":
        net = model(1)
    elif change == "registration":  # the same weights mean another network
        net.grid_alignment = net.config["grid_alignment"] = "centre"
    elif change == "input":  # of the same size and time
        lr = labels(LR.shape, seed=1)
        os.utime(write(lr_path, lr), ns=(status.st_atime_ns, status.st_mtime_ns))
        assert lr_path.stat().st_size == status.st_size
    elif change == "seed":
        seed = 6
    elif change == "tile":
        tile = 5
    else:
        crop = 2
    superres_to_file(net, lr_path, out, seed, tile, crop)
    assert made.calls == len(tiling.corners(LR.shape, tile, crop))
    assert np.array_equal(read(out), superres.superres(net, lr, seed, tile, crop))
    assert names(out.parent) == [out.name]


@TARGETS
def test_a_tile_is_noted_after_it_is_on_disk(tmp_path, lr_path, made, monkeypatch, target):
    seen, out = [], tmp_path / "out" / f"sr{target}"

    def spy(owner, name):
        real = getattr(owner, name)

        def looked(*args):
            seen.append((made.calls, len(lines(out.with_name(f".journal-sr{target}"))) - 1))
            return real(*args)

        monkeypatch.setattr(owner, name, looked)

    spy(*((np.memmap, "flush") if target == ".tif" else (io, "sync")))
    monkeypatch.setattr(journal, "FLUSH_EVERY", 0)
    superres_to_file(model(), lr_path, out, 5, 4)
    assert sorted(set(seen))[-18:] == [(n + 1, n) for n in range(18)]


def test_a_tiff_is_flushed_once_in_a_while_and_at_the_end(interrupted, made, monkeypatch):
    flushed, real = [], np.memmap.flush
    monkeypatch.setattr(np.memmap, "flush", lambda array: (flushed.append(made.calls), real(array)))
    interrupted(".tif", 7)
    assert set(flushed) == {7}


@TARGETS
def test_a_later_run_takes_over(tmp_path, lr_path, made, target):
    """Two runs at once: the first stops, and what the second leaves is complete."""
    out, real, started = tmp_path / "out" / f"sr{target}", made.real, []

    def call():
        return superres_to_file(model(), lr_path, out, 5, 4)

    def during(*args, **options):
        if made.calls == 4 and not started:
            started.append(call())
        return real(*args, **options)

    made.real = during
    with pytest.raises(ValueError, match="a later run has taken over sr"):
        call()
    assert np.array_equal(read(out), WHOLE) and names(out.parent) == [out.name]


def test_the_bar_starts_at_what_is_done(interrupted, capsys):
    superres_to_file(*interrupted(".zarr", 7), progress=True)
    shown = re.findall(r"(\d+)/18", capsys.readouterr().err)
    assert shown[0] == "7" and shown[-1] == "18"
