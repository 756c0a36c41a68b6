"""``srlib segment``: phases from grey values, by the command itself."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from skimage.filters import threshold_otsu

from srlib.cli import main
from srlib.data import io
from srlib.inference import segmentation


def write(path: Path, values: np.ndarray, voxel: float | None = None) -> Path:
    how = {}
    if voxel:
        about = {"spacing": voxel, "unit": "um", "axes": "ZYX"}
        how = dict(imagej=True, resolution=(1 / voxel, 1 / voxel), metadata=about)
    tifffile.imwrite(path, values, **how)
    return path


def call(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["segment", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def truth() -> np.ndarray:
    """Slabs across the last axis: 0 on 12 pixels, 1 on 18, 2 on 10."""
    return np.broadcast_to(np.repeat(np.uint8([0, 1, 2]), [12, 18, 10]), (70, 30, 40))


def grey_of(truth: np.ndarray, levels=(2000, 9000, 20000), sd: float = 300.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sd, truth.shape)
    return (np.array(levels)[truth] + noise).astype(np.uint16)


def test_three_phases_come_back_with_their_voxel_size(truth, tmp_path):
    path, out = write(tmp_path / "grey.tif", grey_of(truth), 0.5), tmp_path / "labels.tif"
    code, text = call(path, "-o", out, "--phases", 3)
    assert code == 0, text
    found = io.read(out)
    assert (np.asarray(found.values) == truth).all() and found.values.dtype == np.uint8
    assert found.voxel_size == pytest.approx((0.5,) * 3)
    assert "0: 0.3000, 1: 0.4500, 2: 0.2500" in text and "a valley of 0%" in text
    code, text = call(path, "-o", out, "--phases", 3)
    assert code == 2 and "is there already" in text


def test_two_phases_are_split_where_skimage_splits_all_of_them(tmp_path):
    grey = np.random.default_rng(0).normal(0, 20, (6, 50, 50)) + 90
    grey[:, :, 20:] += 70
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    call(write(tmp_path / "grey.tif", grey), "-o", tmp_path / "labels.tif", "--method", "otsu")
    wanted = grey > threshold_otsu(grey)
    assert np.mean(tifffile.imread(tmp_path / "labels.tif") != wanted) < 0.005


def test_separation_and_valley_in_closed_form():
    """Two peaks of 1 and 3 at distance d: all of the variance; beside noise of sd s, a part."""
    counts, centres = np.zeros(256, int), np.arange(256.0)
    counts[[40, 200]] = 100, 300
    classes = (centres > 100).astype(int)
    assert segmentation._separation(counts, centres, classes) == pytest.approx(1)
    rng = np.random.default_rng(0)
    made = segmentation.by_threshold(rng.normal(0, 1, (40, 60, 60)))
    assert made.separation == pytest.approx(2 / np.pi, abs=0.01)  # one bell, cut in its middle
    assert made.valleys[0] > 0.9


def test_no_valley_is_said(tmp_path):
    grey = np.random.default_rng(0).normal(120, 20, (6, 50, 50)).clip(1, 250).astype(np.uint8)
    code, text = call(write(tmp_path / "grey.tif", grey), "-o", tmp_path / "labels.tif")
    assert code == 0 and "no valley between them" in text


@pytest.mark.parametrize("fill", [0, 65535])
def test_fill_values_are_kept_apart(truth, tmp_path, fill):
    grey = grey_of(truth)
    grey[:, :5] = fill
    path, out = write(tmp_path / "grey.tif", grey), tmp_path / "labels.tif"
    code, text = call(path, "-o", out, "--phases", 3)
    assert code == 0 and f"{fill} marks what was not measured" in text
    found = tifffile.imread(out)
    assert (found[:, :5] == 255).all() and (found[:, 5:] == truth[:, 5:]).all()
    assert "0: 0.3000, 1: 0.4500, 2: 0.2500" in text


def test_a_median_filter_takes_noise_away(truth, tmp_path):
    grey = grey_of(truth, sd=2500)
    path = write(tmp_path / "grey.tif", grey)
    wrong = []
    for n in (0, 5):
        out = tmp_path / f"{n}.tif"
        assert call(path, "-o", out, "--phases", 3, "--median", n)[0] == 0
        wrong.append(np.mean(tifffile.imread(out) != truth))
    assert wrong[1] < wrong[0] / 3


def test_a_forest_tells_textures_that_no_threshold_can(tmp_path):
    """Two phases of one mean, one of them rougher; judged two widths of the widest filter away."""
    rng = np.random.default_rng(0)
    truth = np.broadcast_to(np.arange(128) >= 64, (2, 64, 128)).astype(np.uint8)
    grey = (128 + rng.normal(0, 1, truth.shape) * np.where(truth, 25, 5)).astype(np.uint8)
    paint = np.zeros_like(truth)
    paint[1, 16:48, 16:40], paint[1, 16:48, 88:112] = 1, 2
    path = write(tmp_path / "grey.tif", grey)
    painted = write(tmp_path / "painted.tif", paint)
    code, text = call(path, "-o", tmp_path / "forest.tif", "--painted", painted)
    assert code == 0 and "of painted pixels are right" in text
    call(path, "-o", tmp_path / "otsu.tif")
    judged = (0, slice(16, 48), np.r_[16:48, 80:112])  # the section without paint
    wrong = [tifffile.imread(tmp_path / f"{n}.tif")[judged] for n in ("forest", "otsu")]
    wrong = [np.mean(found != truth[judged]) for found in wrong]
    assert wrong[0] < 0.05 and wrong[1] > 0.3


def test_an_interrupted_call_goes_on_with_the_same_bytes(truth, tmp_path, monkeypatch):
    truth = truth.copy()
    truth[:7] = 0  # 0.37, 0.405 and 0.225 of all
    path, out = write(tmp_path / "grey.tif", grey_of(truth)), tmp_path / "labels.tif"
    whole = tmp_path / "whole.tif"
    assert call(path, "-o", whole, "--phases", 3)[0] == 0
    real, calls = segmentation.Segmenter.__call__, []

    def counted(self, section, fill=()):
        calls.append(1)
        if len(calls) == 50:
            raise KeyboardInterrupt
        return real(self, section, fill)

    monkeypatch.setattr(segmentation.Segmenter, "__call__", counted)
    code, text = call(path, "-o", out, "--phases", 3)
    assert code == 1 and not out.exists()
    calls.extend([1] * 100)
    before = len(calls)
    code, text = call(path, "-o", out, "--phases", 3)
    assert code == 0 and len(calls) - before == 70 - segmentation.ROWS
    assert out.read_bytes() == whole.read_bytes()
    assert "0: 0.3700, 1: 0.4050, 2: 0.2250" in text


BAD = {
    "no file": (["no.tif"], "there is no file"),
    "labels": (["labels.tif"], "so few values that it must be segmented"),
    "a plane": (["plane.tif"], "a volume is needed"),
    "one phase": (["grey.tif", "--phases", "1"], "give 2 to 8"),
    "nine phases": (["grey.tif", "--phases", "9"], "give 2 to 8"),
    "otsu of three": (["grey.tif", "--phases", "3", "--method", "otsu"], "use --method multi-otsu"),
    "forest without paint": (["grey.tif", "--method", "random-forest"], "learns from painted"),
    "paint without forest": (
        ["grey.tif", "--method", "otsu", "--painted", "labels.tif"],
        "learns from painted",
    ),
    "an even filter": (["grey.tif", "--median", "4"], "should be odd"),
    "paint of another shape": (["grey.tif", "--painted", "small.tif"], "paint on the volume"),
    "one phase painted": (["grey.tif", "--painted", "labels.tif"], "painted values are [1]"),
    "few pixels painted": (["grey.tif", "--painted", "few.tif"], "paint 10 or more"),
    "other phases painted": (
        ["grey.tif", "--painted", "painted.tif", "--phases", "3"],
        "2 phases are painted, not 3",
    ),
    "kind": (["grey.tif", "-o", "out.png"], "must end in"),
    "onto itself": (["grey.tif", "-o", "grey.tif"], "the input itself"),
    "is there": (["grey.tif", "-o", "small.tif"], "is there already"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(name, truth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "grey.tif", grey_of(truth)[:8])
    write(tmp_path / "plane.tif", grey_of(truth)[0])
    paint = (truth[:8] == 1).astype(np.uint8)
    write(tmp_path / "labels.tif", paint)
    write(tmp_path / "small.tif", paint[:4])
    few = paint.copy()
    few[0, 0, :3] = 2
    write(tmp_path / "few.tif", few)
    write(tmp_path / "painted.tif", paint + 2 * (truth[:8] == 2).astype(np.uint8))
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    arguments, words = BAD[name]
    arguments = arguments if "-o" in arguments else [*arguments, "-o", "out.tif"]
    code, text = call(*arguments)
    assert code == 2, text
    last = text.strip().splitlines()[-1]
    assert last.startswith("Error: ") and words in last, text
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_volume_of_fill_values_only_is_refused(tmp_path):
    grey = np.full((4, 30, 30), np.nan, np.float32)
    code, text = call(write(tmp_path / "grey.tif", grey), "-o", tmp_path / "out.tif")
    assert code == 2 and "Error: " in text
