"""The commands: what cannot be used is refused in one sentence, and what was begun goes on."""

import importlib
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from files import GREY, REFUSED, tiff
from scipy.ndimage import gaussian_filter

from srlib import models
from srlib.cli import main
from srlib.data import read, read_labels, write
from srlib.data.own_files import own_case

SOLID = (gaussian_filter(np.random.default_rng(0).normal(size=(96,) * 3), 3) > 0).astype(np.uint8)


def good(folder) -> dict[str, str]:
    """Files that belong together, by what they are."""
    folder.mkdir()
    made = {
        "coarse": tiff(folder / "coarse.tif", 255 * SOLID[::4, ::4, ::4]),
        "fine": tiff(folder / "fine.tif", 255 * SOLID[5]),
        "stack": tiff(folder / "stack.tif", np.repeat(np.repeat(GREY, 3, 1), 3, 2)),
        "low": tiff(folder / "low.tif", np.repeat(np.repeat(GREY, 2, 1), 2, 2)),
        "high": tiff(folder / "high.tif", np.repeat(np.repeat(GREY, 4, 1), 4, 2)),
    }
    return {name: str(path) for name, path in made.items()}


def run(*arguments) -> tuple[int, str]:
    """Exit code, and what a command says on its error channel."""
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr


def test_a_voxel_size_is_taken_unless_the_file_says_another(tmp_path):
    files = good(tmp_path / "good")
    mine = own_case(files["coarse"], [files["fine"]], 4, voxel_size=1.6)
    assert mine.coarse.voxel_size == (1.6,) * 3 and mine.case.voxel_nm == pytest.approx(400)
    write(tmp_path / "sized.tif", read(files["coarse"]).values, (2.0, 2.0, 2.0))
    with pytest.raises(ValueError, match="contradicts sized.tif, which says 2 um"):
        own_case(tmp_path / "sized.tif", [files["fine"]], 4, voxel_size=1.6)


def contents(folder) -> dict:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


COMMANDS = {
    "inspect": lambda f, bad, out: ["inspect", bad],
    "superres, coarse": lambda f, bad, out: ["superres", bad, f["fine"], "-o", out],
    "superres, fine": lambda f, bad, out: ["superres", f["coarse"], bad, "-o", out],
    "superres, second fine": lambda f, bad, out: [
        "superres", f["coarse"], f["fine"], bad, "-o", out
    ],
    "superres, model": lambda f, bad, out: [
        "superres", bad, "--model", "case1-twin-0", "-o", out
    ],
    "depth": lambda f, bad, out: ["depth", bad, "--n", "4", "-o", out],
    "restore, low": lambda f, bad, out: ["restore", bad, f["high"], "-o", out],
    "restore, high": lambda f, bad, out: ["restore", f["low"], bad, "-o", out],
    "segment": lambda f, bad, out: ["segment", bad, "--phases", "2", "-o", out],
}  # fmt: skip


def refused(arguments, folder, words: str) -> None:
    before = contents(folder)
    code, said = run(*arguments)
    lines = [line for line in said.splitlines() if line and not line.startswith(("Usage", "Try"))]
    assert code == 2, said
    assert len(lines) == 1 and lines[0].startswith("Error: "), said
    assert re.search(words, said), said
    assert contents(folder) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", REFUSED)
def test_files_that_cannot_be_read_are_refused(command, kind, tmp_path):
    files = good(tmp_path / "good")
    make, words = REFUSED[kind]
    (tmp_path / "bad").mkdir()
    arguments = COMMANDS[command](files, make(tmp_path / "bad"), tmp_path / "out.tif")
    refused(arguments, tmp_path, words)


OPTIONS = {
    "no output": (["superres", "coarse", "fine"], "Missing option '-o'"),
    "no fine image": (["superres", "coarse", "-o", "out.tif"], "name a fine image"),
    "unknown option": (["superres", "coarse", "fine", "-o", "out.tif", "--gpu"], "No such option"),
    "picture as output": (["superres", "coarse", "fine", "-o", "out.png"], "must end in"),
    "output without ending": (["superres", "coarse", "fine", "-o", "out"], "must end in"),
    "input as output": (["superres", "coarse", "fine", "-o", "coarse"], "is the input itself"),
    "output there": (["superres", "coarse", "fine", "-o", "fine"], "is there already"),
    "output in a file": (["superres", "coarse", "fine", "-o", "fine/out.tif"], "cannot be written"),
    "fine first": (["superres", "fine", "coarse", "-o", "out.tif"], "name the coarse volume first"),
    "scale factor 0": (["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "0"], ""),
    "scale factor 11": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "11"],
        "",
    ),
    "volume that tiles divide": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "1.6"],
        "multiples of 5 coarse voxels",
    ),
    "words for a map": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--phase-map", "a,b"],
        "should be numbers",
    ),
    "map too short": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "4", "--phase-map", "0"],
        "phase map should name",
    ),
    "map beyond": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "4"]
        + ["--phase-map", "0,5"],
        "phase map should name",
    ),
    "labels that lack one": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "4", "--labels", "0,7"],
        "is none of",
    ),
    "names too few": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--scale-factor", "4", "--names", "pore"],
        "",
    ),
    "no iterations": (["superres", "coarse", "fine", "-o", "out.tif", "--iterations", "0"], "0"),
    "one sample": (["superres", "coarse", "fine", "-o", "out.tif", "--samples", "1"], "1"),
    "no such model": (["superres", "coarse", "-o", "out.tif", "--model", "none"], "no weights"),
    "model and a training": (
        ["superres", "coarse", "-o", "out.tif", "--model", "case3-twin-0", "--iterations", "9"],
        "--iterations belong to a training",
    ),
    "model of another factor": (
        ["superres", "coarse", "-o", "out.tif", "--model", "case3-twin-0", "--scale-factor", "2"],
        "is for a scale factor of 4, not 2",
    ),
    "a volume as model": (
        ["superres", "coarse", "-o", "out.tif", "--model", "coarse"],
        "holds no weights",
    ),
    "voxel size of 0": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--voxel-size", "0"],
        "above 0",
    ),
    "model of another kind": (
        ["superres", "coarse", "-o", "out.tif", "--model", "rubber4-twin-0"],
        "load or train one",
    ),
    "model of other phases": (
        ["superres", "coarse", "fine", "-o", "out.tif", "--model", "case3-twin-0"]
        + ["--scale-factor", "4"],
        "train one without --model",
    ),
    "grey volume": (["superres", "stack", "fine", "-o", "out.tif"], "look grey"),
    "grey image": (["superres", "coarse", "high", "-o", "out.tif"], "look grey"),
    "nothing to inspect": (["inspect"], "Missing argument"),
    "unknown command": (["sharpen", "coarse"], "No such command"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_cannot_be_used_are_refused(name, tmp_path, monkeypatch):
    files = good(tmp_path / "good")
    monkeypatch.chdir(tmp_path)
    arguments, words = OPTIONS[name]
    told = [
        files.get(a, a) if not a.startswith("fine/") else f"{files['fine']}/{a[5:]}"
        for a in arguments
    ]
    refused(told, tmp_path, words)


def made(folder, *more) -> list[str]:
    """The arguments of a short run on good files."""
    if not (folder / "good").exists():
        good(folder / "good")
    command = ["superres", *(str(folder / "good" / f"{name}.tif") for name in ("coarse", "fine"))]
    command += ["-o", str(folder / "out.tif"), "--scale-factor", "4", "--profile", "smoke"]
    return [*command, "--iterations", "3", "--samples", "2", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of the command that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    code, said = run(*made(folder))
    assert code == 0, said
    return folder


def test_two_files_make_a_volume_a_model_and_a_report(whole):
    assert sorted(p.name for p in whole.iterdir()) == [
        "good",
        "out.tif",
        "out.tif.html",
        "out.tif.safetensors",
    ]
    assert read_labels(whole / "out.tif").shape == (88, 88, 88)
    page = (whole / "out.tif.html").read_text()
    assert "<html" in page and "trained for 3 iterations, where 1500 are usual" in page
    for name, value in (("fine image", whole / "good/fine.tif"), ("scale factor used", 4)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


def test_a_model_makes_the_same_volume_again(whole, tmp_path):
    files = good(tmp_path / "good")
    model = str(whole / "out.tif.safetensors")
    out = tmp_path / "again.zarr"
    assert run("superres", files["coarse"], "-o", out, "--model", model)[0] == 0
    assert (read_labels(out) == read_labels(whole / "out.tif")).all()


PLACES = {
    "_update_critics": ("srlib.training.gan", "SuperResTrainer"),
    "save": ("srlib.models", ""),
    "_make": ("srlib.inference.streaming", ""),
    "report_html": ("srlib.viz.report", ""),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_interrupted_command_goes_on_and_ends_the_same(place, whole, tmp_path, monkeypatch):
    """Whatever was done when it stopped, the same call ends with the same bytes."""
    module, name = PLACES[place]
    owner = importlib.import_module(module)
    owner = getattr(owner, name) if name else owner
    before, calls = getattr(owner, place), []
    more = () if place == "report_html" else ("--no-report",)

    def stop(*args, **kwargs):
        calls.append(place)
        if len(calls) == 2 or place not in ("_update_critics", "_make"):
            raise KeyboardInterrupt
        return before(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, place, stop)
        code, said = run(*made(tmp_path, "--tile", "16", *more))
        assert code == 1 and "goes on from what was saved last" in said
    code, said = run(*made(tmp_path, "--tile", "16", *more))
    assert code == 0, said
    assert (read_labels(tmp_path / "out.tif") == read_labels(whole / "out.tif")).all()
    one, other = (models.load(folder / "out.tif.safetensors") for folder in (tmp_path, whole))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {p.name for p in whole.iterdir()} - ({"out.tif.html"} if more else set())
