"""The generated tables of README.md and book/errata.md, and the script for a user's own images."""

import json
import re
import textwrap

import numpy as np
import pytest
import tifffile

from book import readme_table
from srlib import models, results, train, twins


def notebook(folder, name: str, *cells: tuple[str, str]) -> None:
    cells = [{"cell_type": kind, "source": text.splitlines(True)} for kind, text in cells]
    (folder / name).write_text(json.dumps({"cells": cells}), encoding="utf-8")


def test_chapters_carry_minutes_and_headline_of_their_own_run(tmp_path):
    notebook(tmp_path, "01_second.ipynb", ("markdown", "text\n# How fast?\n## not this"))
    notebook(tmp_path, "00_first.ipynb", ("code", "# a comment\n"), ("markdown", "# What is it?"))
    notebook(tmp_path, "_template.ipynb", ("markdown", "# Left out"))
    about = dict(profile="laptop", seed=0, out_dir=tmp_path)
    results.write("01_second", {"headline": "3.4 %"}, source="real", seconds=530, **about)
    rows = readme_table.results_table(tmp_path, tmp_path).splitlines()[2:]
    assert rows == [
        "| [00 What is it?](notebooks/00_first.ipynb) | - | not run yet | - |",
        "| [01 How fast?](notebooks/01_second.ipynb) | 9 | 3.4 % | real |",
    ]


@pytest.mark.parametrize(
    ("values", "seconds", "shown"),
    [({}, 20, "< 1"), ({}, 89, "1"), ({"minutes": 10}, 5400, "10"), ({"minutes": 0.5}, 900, "< 1")],
)
def test_minutes_of_the_reader_go_before_seconds_of_the_run(values, seconds, shown):
    assert readme_table.minutes({"values": values, "seconds": seconds}) == shown


def test_notebook_without_title_is_named(tmp_path):
    notebook(tmp_path, "07_none.ipynb", ("markdown", "## only a section"))
    with pytest.raises(ValueError, match="07_none.ipynb has no title"):
        readme_table.title(tmp_path / "07_none.ipynb")


def test_fill_changes_nothing_outside_its_marks_and_can_be_repeated():
    text = "before\n<!-- a -->old<!-- /a -->\nafter <!-- b --><!-- /b -->"
    once = readme_table.fill(text, "a", "| new |")
    assert once == "before\n<!-- a -->\n\n| new |\n\n<!-- /a -->\nafter <!-- b --><!-- /b -->"
    assert readme_table.fill(once, "a", "| new |") == once


@pytest.mark.parametrize("text", ["", "<!-- a -->", "<!-- /a --><!-- a -->", "<!-- a -->" * 2])
def test_fill_without_its_marks_says_so(text):
    with pytest.raises(ValueError, match="must hold <!-- a --> and, after it, <!-- /a -->"):
        readme_table.fill(text, "a", "table")


def test_pages_in_the_repository_are_up_to_date():
    for path, text in readme_table.filled().items():
        same = path.read_text(encoding="utf-8") == text
        assert same, f"{path.name} is out of date: run 'python -m book.readme_table'"


def script(page: str) -> str:
    text = (readme_table.ROOT / page).read_text(encoding="utf-8")
    (found,) = re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return textwrap.dedent(found)


def test_book_and_readme_show_the_same_script():
    assert script("README.md") == script("book/intro.md")


def test_script_makes_a_volume_from_two_files(tmp_path, monkeypatch, capsys):
    truth = twins.sofc(0, (64, 72, 80))
    coarse = np.array([0, 85, 170], np.uint8)[truth[::4, ::4, ::4]]
    tifffile.imwrite(tmp_path / "coarse.tif", coarse)
    tifffile.imwrite(tmp_path / "fine.tif", twins.sofc(1, (96, 128)).astype(np.int8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(train.PROFILES, "laptop", train.PROFILES["smoke"])
    exec(compile(script("README.md"), "README.md", "exec"), {})
    volume = tifffile.imread(tmp_path / "super.tif")
    assert volume.shape == (56, 64, 72) and volume.dtype == np.uint8
    assert set(np.unique(volume)) <= {0, 85, 170}
    assert (volume[::4, ::4, ::4] == 85 * truth[4:-4:4, 4:-4:4, 4:-4:4]).mean() > 0.6
    assert models.load(tmp_path / "mine.safetensors").scale_factor == 4
    assert len(capsys.readouterr().out.strip().splitlines()) >= 2
