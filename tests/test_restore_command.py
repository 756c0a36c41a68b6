"""``srlib restore``: from two scans of one region to a restored scan, by the command itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as shifted

from srlib import models, training
from srlib.cli import main
from srlib.data import io, pairs
from srlib.inference import scans
from srlib.training.loop import Trainer

FACTOR, MICROMETRES = 2, 0.8  # of the fine voxel
BEGIN = (10, 12, 16)  # where HIGH begins, in fine voxels of the sample
MOVED = (0.7, -0.9, 0.4)  # of LOW against HIGH, fine voxels


def write(path: Path, values: np.ndarray, voxel: float | None = None) -> Path:
    how = {}
    if voxel:
        about = {"spacing": voxel, "unit": "um", "axes": "ZYX"}
        how = dict(imagej=True, resolution=(1 / voxel, 1 / voxel), metadata=about)
    tifffile.imwrite(path, values, **how)
    return path


def sample(seed: int) -> np.ndarray:
    """Grains with smooth borders, in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(72, 96, 128))
    return gaussian_filter((gaussian_filter(noise, 3) > 0).astype(np.float32), 0.7)


def seen_poorly(truth: np.ndarray) -> np.ndarray:
    """Moved, blurred, in coarse voxels, noisy, 16 bits with another offset."""
    moved = gaussian_filter(shifted(truth, MOVED, order=3, mode="nearest"), 1.5)
    d, h, w = (n // FACTOR for n in truth.shape)
    coarse = moved.reshape(d, FACTOR, h, FACTOR, w, FACTOR).mean((1, 3, 5))
    noise = np.random.default_rng(1).normal(0, 0.08, coarse.shape)
    return (30000 + 4000 * (coarse + noise)).astype(np.uint16)


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scans, "SLAB", 2**18)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """LOW shows all of the sample, HIGH the inner part of it, with little noise and 8 bits."""
    folder, truth = tmp_path_factory.mktemp("scans"), sample(0)
    part = tuple(slice(b, b + n) for b, n in zip(BEGIN, (48, 64, 96), strict=True))
    high = truth[part] + np.random.default_rng(2).normal(0, 0.02, truth[part].shape)
    write(folder / "low.tif", seen_poorly(truth), FACTOR * MICROMETRES)
    write(folder / "high.tif", np.clip(60 + 120 * high, 0, 255).astype(np.uint8), MICROMETRES)
    write(folder / "other.tif", np.clip(60 + 120 * sample(5)[part], 0, 255).astype(np.uint8))
    write(folder / "labels.tif", (truth > 0.5).astype(np.uint8))
    write(folder / "tiny.tif", np.random.default_rng(0).normal(size=(20, 20, 40)).astype("f4"))
    write(folder / "plane.tif", np.random.default_rng(0).normal(size=(64, 64)).astype("f4"))
    negative = 65535 - tifffile.imread(folder / "low.tif")
    write(folder / "negative.tif", negative, FACTOR * MICROMETRES)
    write(folder / "wrong_size.tif", tifffile.imread(folder / "low.tif"), 3 * MICROMETRES)
    (folder / "text.tif").write_text("no image")
    return folder


def call(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["restore", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def made(files, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("made") / "fine.tif"
    code, text = call(files / "low.tif", files / "high.tif", "-o", out, "--steps", 40)
    assert code == 0, text
    return out, text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_low_is_restored_whole_in_the_voxels_and_grey_values_of_high(files, made):
    out, text = made
    fine, high = io.read(out), io.read(files / "high.tif")
    assert fine.values.shape == (72, 96, 128) and fine.values.dtype == np.uint8
    assert fine.voxel_size == pytest.approx((MICROMETRES,) * 3)
    assert names(out.parent) == ["fine.tif", "fine.tif.safetensors"]
    wanted = ", ".join(f"{b + m:.1f}" for b, m in zip(BEGIN, MOVED, strict=True))
    assert f"HIGH begins at ({wanted}) of LOW" in text
    place = tuple(slice(b + 1, b + 40) for b in BEGIN)
    inner = tuple(slice(1, 40) for _ in BEGIN)
    grey = np.array(fine.values[place], float)
    assert np.corrcoef(grey.ravel(), np.array(high.values[inner], float).ravel())[0, 1] > 0.8
    assert abs(grey.mean() - np.asarray(high.values[inner]).mean()) < 10


def test_the_network_is_judged_on_what_it_has_not_seen_and_beats_interpolation(made):
    scores = models.load(Path(f"{made[0]}.safetensors")).meta["scan"]["psnr_ssim"]
    assert scores["network"][0] > scores["cubic interpolation"][0] + 1
    found = pairs.held_out((48, 64, 96), FACTOR)
    assert found["judge"][2].start - found["train"][2].stop == 8 * FACTOR
    assert found["judge"][2].stop == 96


def test_a_perfect_answer_and_interpolation_have_known_decibels():
    rng = np.random.default_rng(0)
    hq = rng.uniform(-0.8, 0.8, (4, 32, 96)).astype(np.float32)
    lq = (0.5 * hq + 0.1).astype(np.float32)
    pair = pairs.Pair(lq, hq, np.ones(hq.shape, bool), (0, 1), (0, 1), np.zeros((3, *hq.shape)))

    class Off(training.supervised.nn.Module):
        multiple, meta = 1, {"scan": {"steps": 1}}

        def forward(self, x, t):
            return 2 * (x - 0.1) + 0.02

        def parameters(self, recurse=True):
            yield training.supervised.torch.zeros(1)

    scores = scans.judge(Off(), pair, **pairs.held_out(hq.shape, 2))
    assert scores["network"][0] == pytest.approx(20 * np.log10(2 / 0.02), abs=0.01)
    assert scores["cubic interpolation"][0] > 80  # gain and offset are all that differs


def test_the_network_restores_further_scans_as_the_first(files, made, tmp_path):
    model = Path(f"{made[0]}.safetensors")
    code, text = call("--model", model, files / "low.tif", "-o", tmp_path / "again.tif")
    assert code == 0, text
    assert (tifffile.imread(tmp_path / "again.tif") == tifffile.imread(made[0])).all()
    later = write(tmp_path / "later.tif", tifffile.imread(files / "low.tif")[:8])
    code, text = call("--model", model, files / "low.tif", later, "-o", tmp_path / "out")
    assert code == 0, text
    assert names(tmp_path / "out") == ["later.tif", "low.tif"]
    assert io.read(tmp_path / "out" / "later.tif").values.shape == (16, 96, 128)


def test_fill_values_are_left_out_and_come_back(files, made, tmp_path):
    low = tifffile.imread(files / "low.tif")
    low[:, :, :6] = 0
    path = write(tmp_path / "low.tif", low, FACTOR * MICROMETRES)
    out = tmp_path / "fine.tif"
    code, text = call(path, files / "high.tif", "-o", out, "--steps", 2)
    assert code == 0 and "LOW: 0 marks what was not measured" in text
    fine = tifffile.imread(out)
    assert (fine[:, :, :12] == 0).all() and (fine[:, :, 12:] > 0).all()
    limits = [models.load(f"{p}.safetensors").meta["scan"]["limits"] for p in (out, made[0])]
    assert limits[0] == pytest.approx(limits[1], rel=0.01)


class Stop(KeyboardInterrupt):
    pass


def stopping(monkeypatch, owner, name: str, after: int) -> None:
    """Interrupt at the call ``after`` of a function."""
    real, calls = getattr(owner, name), []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise Stop
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


def test_the_same_command_goes_on_and_ends_with_the_same_bytes(files, made, tmp_path, monkeypatch):
    """Interrupted while it trains, while it restores, and before it saves; then left alone."""
    out = tmp_path / "fine.tif"
    command = (files / "low.tif", files / "high.tif", "-o", out, "--steps", 40)
    places = [
        (training.supervised._Supervised, "step", 35),
        (scans, "_piece", 2),
        (models, "save", 0),
    ]
    for place in places:
        with monkeypatch.context() as patch:
            stopping(patch, *place)
            code, text = call(*command)
            assert code == 1 and "the same command goes on" in text
        assert out.exists() == (place[1] == "save")
    steps, real = [], Trainer.random
    monkeypatch.setattr(Trainer, "random", lambda self: (steps.append(1), real(self))[1])
    code, text = call(*command)
    assert code == 0, text
    assert not steps
    assert out.read_bytes() == made[0].read_bytes()
    assert names(tmp_path) == ["fine.tif", "fine.tif.safetensors"]


def test_a_killed_process_goes_on(files, made, tmp_path):
    out = tmp_path / "fine.tif"
    command = [files / "low.tif", files / "high.tif", "-o", out, "--steps", "40"]
    whole = [sys.executable, "-m", "srlib.cli", "restore", *map(str, command)]
    with subprocess.Popen(whole, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        kept = tmp_path / ".unfinished-fine.tif" / "training.pt"
        deadline = time.monotonic() + 120
        while not kept.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
    assert not out.exists() and kept.exists()
    code, text = call(*command)
    assert code == 0, text
    assert out.read_bytes() == made[0].read_bytes()


def test_a_run_with_other_options_does_not_take_over(files, tmp_path, monkeypatch):
    command = [files / "low.tif", files / "high.tif", "-o", tmp_path / "fine.tif"]
    with monkeypatch.context() as patch:
        stopping(patch, training.supervised._Supervised, "step", 0)
        assert call(*command, "--steps", 3)[0] == 1
    code, text = call(*command, "--steps", 2)
    assert code == 2 and "give --overwrite to begin anew" in text
    code, text = call(*command, "--steps", 2, "--overwrite")
    assert code == 0, text


BAD = {
    "one scan": (["low.tif"], "name two scans, LOW and HIGH"),
    "three scans": (["low.tif", "high.tif", "other.tif"], "LOW and HIGH"),
    "no file": (["no.tif", "high.tif"], "there is no file"),
    "text": (["text.tif", "high.tif"], "text.tif"),
    "the same file": (["low.tif", "low.tif"], "the same file"),
    "labels": (["labels.tif", "high.tif"], "labels.tif holds so few values"),
    "labels as HIGH": (["low.tif", "labels.tif"], "labels.tif holds so few values"),
    "a plane": (["plane.tif", "high.tif"], "a volume is needed"),
    "swapped": (["high.tif", "low.tif"], "give the coarse scan first"),
    "no sizes": (["low.tif", "other.tif"], "say with --factor"),
    "another region": (["low.tif", "other.tif", "--factor", "2"], "not show the same region"),
    "a negative": (["negative.tif", "high.tif"], "negative of the other"),
    "contradicts": (["low.tif", "high.tif", "--factor", "4"], "contradicts the voxel sizes"),
    "wrong size": (["wrong_size.tif", "high.tif"], "not show the same region"),
    "factor 0": (["low.tif", "other.tif", "--factor", "0"], "should be 1 or more"),
    "tiny": (["low.tif", "tiny.tif", "--factor", "2"], "are needed to learn from"),
    "no steps": (["low.tif", "high.tif", "--steps", "0"], "should be 1 or more"),
    "kind": (["low.tif", "high.tif", "-o", "out.png"], "must end in"),
    "kind of weights": (["low.tif", "high.tif", "--save", "m.pt"], "must end in .safetensors"),
    "no weights": (["low.tif", "--model", "no.safetensors"], "there is no file"),
    "other weights": (["low.tif", "--model", "unet.safetensors"], "not of srlib restore"),
    "factor and model": (["low.tif", "--model", "m.safetensors", "--factor", "2"], "leave out"),
    "onto itself": (["low.tif", "high.tif", "-o", "low.tif"], "the input itself"),
    "is there": (["low.tif", "high.tif", "-o", "negative.tif"], "is there already"),
    "in a file": (["low.tif", "high.tif", "-o", "text.tif/out.tif"], "cannot be written to"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused_before_training(name, files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(training.supervised._Supervised, "step", None)
    if "unet.safetensors" in BAD[name][0]:
        models.save(models.RestorationUNet(8), files / "unet.safetensors")
    before = {p: p.read_bytes() for p in files.iterdir()}
    arguments, words = BAD[name]
    arguments = arguments if "-o" in arguments else [*arguments, "-o", "out.tif"]
    code, text = call(*arguments)
    assert code == 2, text
    last = text.strip().splitlines()[-1]
    assert last.startswith("Error: ") and words in last, text
    assert {p: p.read_bytes() for p in files.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: (v // 256).astype(np.uint8), "beyond the grey values"),
        (lambda v: v[0], "a volume is needed"),
    ],
)
def test_a_further_scan_that_does_not_fit_is_refused(change, words, files, made, tmp_path):
    path = write(tmp_path / "later.tif", change(tifffile.imread(files / "low.tif")))
    model = Path(f"{made[0]}.safetensors")
    code, text = call("--model", model, path, "-o", tmp_path / "out.tif")
    assert code == 2 and words in text
    path = write(tmp_path / "sized.tif", tifffile.imread(files / "low.tif"), 1.0)
    code, text = call("--model", model, path, "-o", tmp_path / "out.tif")
    assert code == 2 and "voxels of 1 x 1 x 1 um" in text


@pytest.mark.parametrize(
    ("low", "high", "factor", "wanted"),
    [
        ((6, 6, 6), (2, 2, 2), None, (3, 3, 3)),
        ((2, 1.01, 1.01), (1, 1, 1), None, (2, 1, 1)),
        (None, (2, 2, 2), 4, (4, 4, 4)),
        ((None, 1, 1), (1, 1, 1), 2, (2, 2, 2)),
        (None, None, None, (3, 3, 3)),
    ],
)
def test_factors_come_from_sizes_then_from_the_caller_then_from_shapes(low, high, factor, wanted):
    assert pairs.factors(low, high, (10, 20, 30), (30, 60, 90), factor)[0] == wanted


def test_a_turned_scan_of_a_slightly_other_voxel_size_is_registered():
    """Sizes 2.1 to 1: HIGH is resampled; without that, the ends are off by 2 voxels."""
    from scipy.ndimage import rotate, zoom

    truth = sample(3)
    low = rotate(truth, 2, (1, 2), reshape=False, mode="nearest")
    low = zoom(low, 1 / 2.1, order=1, grid_mode=True, mode="nearest") * 100
    pair, about = pairs.from_scans(low, truth, 2, (2.1, 2.1, 2.1))
    assert about["correlation"] > 0.9
    slope = np.ptp(pair.displacement[1][0, 0]) / (pair.displacement.shape[3] - 1)
    assert slope == pytest.approx(np.tan(np.deg2rad(2)), abs=0.006)
