"""The commands: what cannot be used is refused in one sentence, and what was begun goes on."""

import numpy as np
import pytest
from click.testing import CliRunner
from files import GREY, PHASES, REFUSED, tiff
from scipy.ndimage import gaussian_filter

from srlib.cli import main

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
    assert words in said or __import__("re").search(words, said), said
    assert contents(folder) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", REFUSED)
def test_files_that_cannot_be_read_are_refused(command, kind, tmp_path):
    files = good(tmp_path / "good")
    make, words = REFUSED[kind]
    (tmp_path / "bad").mkdir()
    arguments = COMMANDS[command](files, make(tmp_path / "bad"), tmp_path / "out.tif")
    refused(arguments, tmp_path, words)
