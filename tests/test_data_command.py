"""``srlib data`` and ``data/download.py`` read one registry."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from srlib.cli import main
from srlib.downloads import download

ROOT = Path(__file__).resolve().parents[1]


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["data", *arguments])
    return result.exit_code, result.output


def test_command_and_script_list_the_same_files(tmp_path):
    code, text = call("--list", "--dest", str(tmp_path))
    script = [sys.executable, str(ROOT / "data" / "download.py"), "--list", "--dest", str(tmp_path)]
    told = subprocess.run(script, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert code == 0 and text == told
    assert all(file.name in text for file in download.REGISTRY if file.group != "edsr")


def test_a_file_comes_from_a_mirror_and_is_checked(tmp_path, monkeypatch):
    shelf, folder = tmp_path / "shelf", tmp_path / "here"
    shelf.mkdir()
    (shelf / "a.tif").write_bytes(b"hello\n")
    known = "gitblob:ce013625030ba8dba906f756967f9e9ca394464a"
    monkeypatch.setattr(download, "REGISTRY", [download.File("a.tif", "group", (), known, 6)])
    code, text = call("a.tif", "--dest", str(folder), "--mirror", str(shelf))
    assert code == 0 and "1 files are ready" in text
    assert (folder / "a.tif").read_bytes() == b"hello\n"


def test_bad_calls_get_one_sentence():
    for arguments, words in (([], "name a group"), (["nothing"], "neither a file nor a group")):
        code, text = call(*arguments)
        assert code == 2 and words in text and text.startswith("Error: ")
