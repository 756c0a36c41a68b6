"""The generated tables of README.md and book/errata.md, and the script for a user's own images."""

import json
import re
import shlex
import textwrap

import numpy as np
import pytest

from book import tables
from srlib import models, results, training
from srlib.cli import main
from srlib.data import read, write
from srlib.synthetic import microstructures


def notebook(folder, name: str, *cells: tuple[str, str]) -> None:
    cells = [{"cell_type": kind, "source": text.splitlines(True)} for kind, text in cells]
    (folder / name).write_text(json.dumps({"cells": cells}), encoding="utf-8")


def little_root(tmp_path):
    """A repository with two chapters, one of which has run."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cost = "| profile | minutes | memory | x |\n|---|---|---|---|\n| laptop | ? | ? | y |\n"
    notebook(folder, "01_second.ipynb", ("markdown", "text\n# How fast?\n## not this"))
    first = (("code", "# a comment\n"), ("markdown", "# What is it?"), ("markdown", cost))
    notebook(folder, "00_first.ipynb", *first)
    notebook(folder, "_template.ipynb", ("markdown", "# Left out"))
    kept = tmp_path / "results" / "laptop"
    how = dict(profile="laptop", seed=0, out_dir=kept, source="twin", seconds=9)
    results.write("00_first", {"headline": "3.4 %"}, **how)
    machine = {"cores": 2, "processor": "A, AVX2", "numbers": "float32"}
    row = {"seconds": 50, "core_seconds": 72, "MB": 1234}
    table = {"laptop": {"chapters": {"00_first": row}, "total": {"seconds": 840} | machine}}
    (tmp_path / "_config.yml").write_text('repository: {url: ""}')
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "seconds.json").write_text(json.dumps(table))
    return tmp_path


def test_chapters_carry_seconds_and_headline_of_their_own_run(tmp_path):
    rows = tables.chapters_table(little_root(tmp_path)).splitlines()[2:]
    assert rows == [
        "| [00 What is it?](../notebooks/00_first.ipynb) | 50 | 3.4 % | synthetic |",
        "| [01 How fast?](../notebooks/01_second.ipynb) | - | not run yet | - |",
    ]


def test_minutes_of_the_commands_come_from_the_run(tmp_path):
    said = tables.times(little_root(tmp_path))
    assert said == (
        "After the installation `make book` took 14 minutes on 2 cores (A, AVX2, 32-bit numbers)."
    )
    assert tables.times(tmp_path / "nothing") == "Not measured yet."


def test_cost_table_of_a_chapter_is_what_was_measured(tmp_path):
    path = little_root(tmp_path) / "notebooks" / "00_first.ipynb"
    cells = json.loads(tables.up_to_date(path, tmp_path))["cells"]
    assert "".join(cells[2]["source"]).splitlines()[2] == "| laptop | < 1 | 1.2 GB | y |"
    assert cells[:2] == json.loads(path.read_text())["cells"][:2]


def test_colab_has_its_cell_only_while_the_book_has_an_address(tmp_path):
    path = little_root(tmp_path) / "notebooks" / "00_first.ipynb"
    before = json.loads(path.read_text())["cells"]
    (tmp_path / "_config.yml").write_text("repository: {url: 'https://github.com/a/b'}")
    for _ in range(2):  # again changes nothing
        path.write_text(tables.up_to_date(path, tmp_path))
        first, *rest = json.loads(path.read_text())["cells"]
        assert "git clone -q --depth 1 https://github.com/a/b book" in "".join(first["source"])
        assert len(rest) == len(before)
    (tmp_path / "_config.yml").write_text('repository: {url: ""}')
    assert len(json.loads(tables.up_to_date(path, tmp_path))["cells"]) == len(before)


def test_a_row_a_system(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "SYSTEMS", {"basics": ("0", "00_first")})
    (row,) = tables.systems_table(little_root(tmp_path)).splitlines()[2:]
    links = "[00](notebooks/00_first.ipynb) to [01](notebooks/01_second.ipynb)"
    assert row == f"| basics | {links} | < 1 | chapter 00: 3.4 % (synthetic) | not run yet |"


def test_notebook_without_title_is_named(tmp_path):
    notebook(tmp_path, "07_none.ipynb", ("markdown", "## only a section"))
    with pytest.raises(ValueError, match="07_none.ipynb has no title"):
        tables.title(tmp_path / "07_none.ipynb")


def test_fill_changes_nothing_outside_its_marks_and_can_be_repeated():
    text = "before\n<!-- a -->old<!-- /a -->\nafter <!-- b --><!-- /b -->"
    once = tables.fill(text, "a", "| new |")
    assert once == "before\n<!-- a -->\n\n| new |\n\n<!-- /a -->\nafter <!-- b --><!-- /b -->"
    assert tables.fill(once, "a", "| new |") == once


@pytest.mark.parametrize("text", ["", "<!-- a -->", "<!-- /a --><!-- a -->", "<!-- a -->" * 2])
def test_fill_without_its_marks_says_so(text):
    with pytest.raises(ValueError, match="must hold <!-- a --> and, after it, <!-- /a -->"):
        tables.fill(text, "a", "table")


def test_pages_in_the_repository_are_up_to_date():
    for path, text in tables.filled().items():
        same = path.read_text(encoding="utf-8") == text
        assert same, f"{path.name} is out of date: run 'python -m book.tables'"


def blocks(page: str, language: str) -> list[str]:
    text = (tables.ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize("page", ["README.md", "book/intro.md", "book/api/inference.md"])
def test_commands_on_the_pages_are_those_there_are(page):
    """Names, arguments and options of every ``srlib`` line are parsed; nothing runs."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("srlib ")]
    assert commands
    for _, name, *arguments in commands:
        command = main.commands[name]
        assert command.make_context(name, arguments).params


def test_script_makes_a_volume_from_two_files(tmp_path, monkeypatch, capsys):
    truth = microstructures.sofc(0, (64, 72, 80))
    coarse = np.array([0, 85, 170], np.uint8)[truth[::4, ::4, ::4]]
    write(tmp_path / "coarse.tif", coarse, (0.4, 0.4, 0.4))
    write(tmp_path / "fine.tif", microstructures.sofc(1, (96, 128)), (0.1, 0.1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(training.PROFILES, "laptop", training.PROFILES["smoke"])
    (script,) = blocks("README.md", "python")
    assert "iterations=1500" in script
    exec(compile(script.replace("iterations=1500", "iterations=20"), "README.md", "exec"), {})
    made = read("super.tif")
    volume = np.asarray(made.values)
    assert volume.shape == (56, 64, 72) and set(np.unique(volume)) <= {0, 1, 2}
    assert made.voxel_size == pytest.approx((0.1, 0.1, 0.1))
    assert (volume[::4, ::4, ::4] == truth[4:-4:4, 4:-4:4, 4:-4:4]).mean() > 0.6
    assert models.load(tmp_path / "mine.safetensors").scale_factor == 4
    assert "expected error" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()
