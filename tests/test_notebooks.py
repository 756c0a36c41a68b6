"""Every notebook runs at the smoke profile and its results support what it claims."""

import json

import nbformat
import pytest

from book import run
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
    check += "import numpy, torch; from srlib import tomography\n"
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
    monkeypatch.setenv("SRLIB_DATA", str(raw))
    path = one_cell(tmp_path, "once", "1 + 1")
    assert not run.is_current(path, out), "it has not run"
    assert run.run_one(path, {}, out, 60).ok and run.is_current(path, out)
    (kept,) = run.run_all("laptop", [path], out, 60, keep=True)
    assert kept.ok and kept.seconds == 0
    raw.mkdir()
    (raw / "electrode.tiff").touch()
    assert not run.is_current(path, out), "it may have shown a twin of it"
    (again,) = run.run_all("laptop", [path], out, 60, keep=True)
    assert again.ok and again.seconds > 0 and run.is_current(path, out)
    one_cell(tmp_path, "once", "1 / 0")
    assert not run.is_current(path, out), "it was changed"
    assert not run.run_one(path, {}, out, 60).ok and not run.is_current(path, out), "it failed"


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
    with pytest.raises(ValueError, match="choose one of smoke, laptop, paper"):
        run.profile_parameters("huge")
