"""Every notebook runs at the smoke profile and its results support what it claims."""

import json
import signal
import subprocess

import nbformat
import psutil
import pytest

from book import run
from srlib.data import find_file
from tests.claims import CLAIMS
from tests.conftest import SMOKE

PATHS = run.notebooks()


@pytest.mark.notebook
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_runs_and_supports_its_claim(path, executed):
    row = executed[path.stem]
    assert row.ok, f"{path.stem} did not run:\n{row.error}"
    assert path.stem in CLAIMS, f"{path.stem} has no claim: add one to CLAIMS"
    results = json.loads((SMOKE / "results" / f"{path.stem}.json").read_text())
    assert results["profile"] == "smoke"
    row.claim = "failed"
    CLAIMS[path.stem](results["values"])
    row.claim = "held"


@pytest.mark.notebook
def test_no_chapter_needs_a_download(executed):
    """Without one real file every chapter runs, and says that its material is synthetic."""
    if len(executed) < len(PATHS):
        pytest.skip("not every chapter was chosen")
    asked = {p.stem: set(p.read_text().split()) for p in (SMOKE / "logs").glob("*.asked")}
    if any(find_file(name) for names in asked.values() for name in names):
        pytest.skip("real files are here: it runs where SRLIB_DATA is not set")
    assert [row.stem for row in executed.values() if not row.ok] == []
    assert len(asked) > 8, "chapters that take real files if they are there"
    for stem in asked:
        record = json.loads((SMOKE / "results" / f"{stem}.json").read_text())
        assert record["source"] == "twin", f"{stem} says real where no file is"


def test_no_claim_without_a_notebook():
    assert set(CLAIMS) <= {path.stem for path in PATHS}


def one_cell(folder, name: str, source: str):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def prepared(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.mark.notebook
def test_kernel_is_this_interpreter_with_one_thread(tmp_path):
    check = f"import os, sys; assert sys.executable == {run.sys.executable!r}, sys.executable\n"
    check += "assert os.environ['OMP_NUM_THREADS'] == '1'\n"
    check += "import numpy, torch; from srlib.physics import tomography\n"
    check += "tomography.project(numpy.ones((1, 8, 8), numpy.float32), 2, 8)\n"
    check += "assert torch.get_num_threads() == 1, 'the simulation raised it'"
    row = run.run_one(one_cell(tmp_path, "who", check), {}, prepared(tmp_path), 60)
    assert row.ok, row.error


@pytest.mark.notebook
def test_memory_and_cpu_are_those_of_the_kernel(tmp_path):
    use = "import time\nbig = b'x' * 300_000_000\nend = time.process_time() + 2\n"
    use += "while time.process_time() < end: pass"
    row = run.run_one(one_cell(tmp_path, "big", use), {}, prepared(tmp_path), 60)
    assert 300 < row.megabytes < 500
    assert row.cpu > 2


@pytest.mark.notebook
def test_failing_cell_fails_the_notebook_and_is_not_retried(tmp_path):
    source = "print(file=open('runs.txt', 'a'))\nraise ValueError('no pore phase')"
    row = run.run_one(one_cell(tmp_path, "bad", source), {}, prepared(tmp_path), 60)
    assert not row.ok
    assert "ValueError: no pore phase" in row.error
    assert (tmp_path / "runs.txt").read_text() == "\n"


@pytest.mark.notebook
def test_only_what_passed_and_reads_the_same_is_kept(tmp_path, monkeypatch):
    out, raw = prepared(tmp_path), tmp_path / "raw"
    raw.mkdir()
    monkeypatch.setenv("SRLIB_DATA", str(raw))
    asks = "from srlib.data import find_file\nfind_file('a_file_of_the_authors.tif')"
    path, other = one_cell(tmp_path, "asks", asks), one_cell(tmp_path, "asks_not", "1 + 1")
    assert not run.is_current(path, out), "it has not run"
    rows = run.run_all("laptop", [path, other], out, 60)
    assert all(row.ok for row in rows) and run.is_current(path, out)
    (kept,) = run.run_all("laptop", [path], out, 60, keep=True)
    assert kept.ok and kept.seconds == 0
    (raw / "another.tif").touch()
    assert run.is_current(path, out), "nothing that it reads"
    (raw / "a_file_of_the_authors.tif").touch()
    assert not run.is_current(path, out), "it has shown a twin of it"
    assert run.is_current(other, out), "it reads no file"
    first, second = run.run_all("laptop", [path, other], out, 60, keep=True)
    assert first.seconds > 0 == second.seconds and run.is_current(path, out)
    one_cell(tmp_path, "asks", "1 / 0")
    assert not run.is_current(path, out), "it was changed"
    assert not run.run_one(path, {}, out, 60).ok and not run.is_current(path, out), "it failed"


def test_lines_count_and_say_the_time_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "expected", lambda profile: {"a": 40.0, "b": 400.0, "c": 40.0})
    started = []

    def fake(path, parameters, out_dir, limit):
        started.append(path.stem)
        return run.Row(path.stem, path.stem != "c", run.expected("")[path.stem] * 2, 1, 1, "  why")

    monkeypatch.setattr(run, "run_one", fake)
    monkeypatch.setattr(run, "WORKERS", 1)
    run.run_all("laptop", [tmp_path / f"{name}.ipynb" for name in "abc"], tmp_path, 60)
    assert started == ["b", "a", "c"], "the longest first"
    lines = sorted(capsys.readouterr().out.splitlines())
    assert any("b 800 s" in line for line in lines)
    assert any("c FAILED after 80 s" in line for line in lines)
    assert run.time_left([run.Row("b", True, 800, 1, 1, "")], ["a", "c"], run.expected("")) == (
        "about 3 min left"
    ), "twice as slow as stored, two chapters of 40 s, one at a time"


@pytest.mark.notebook
def test_an_interrupted_run_says_so_and_goes_on(tmp_path):
    """Ctrl-C ends the notebooks that run; the same command then runs only what is left."""
    one_cell(prepared(tmp_path), "quick", "1")
    one_cell(tmp_path, "slow", "import os, time\nif not os.path.exists('go'): time.sleep(300)")
    code = (
        "import signal, sys; from pathlib import Path; from book import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it\n"
        f"here = Path({str(tmp_path)!r})\n"
        "paths = [here / 'quick.ipynb', here / 'slow.ipynb']\n"
        "try: run.run_all('laptop', paths, here, 600, keep=True)\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    how = dict(cwd=run.ROOT, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen([run.sys.executable, "-u", "-c", code], **how)
    assert any("] quick" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in said
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info["cmdline"])]
    assert left == [], "nothing of it runs on"
    (tmp_path / "go").touch()
    done = subprocess.run([run.sys.executable, "-u", "-c", code], **how)
    assert done.returncode == 0 and "1 of 2 are up to date" in done.stdout


@pytest.mark.notebook
def test_slow_notebook_is_stopped(tmp_path):
    path = one_cell(tmp_path, "slow", "import time; time.sleep(60)")
    row = run.run_one(path, {}, prepared(tmp_path), 8)
    assert not row.ok
    assert "more than 8 s" in row.error
    assert row.seconds < 30


@pytest.mark.notebook
def test_kernel_that_does_not_start_is_tried_twice(tmp_path, monkeypatch):
    def broken(folder):
        spec = folder / "kernels" / "python3"
        spec.mkdir(parents=True, exist_ok=True)
        argv = ["/bin/sh", "-c", f"echo >> {tmp_path}/starts.txt; exit 3"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "broken"}))

    monkeypatch.setattr(run, "write_kernel", broken)
    row = run.run_one(one_cell(tmp_path, "dead", "1"), {}, prepared(tmp_path), 60)
    assert not row.ok
    assert (tmp_path / "starts.txt").read_text() == "\n\n"


def test_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="choose one of smoke, laptop, full"):
        run.profile_parameters("huge")
