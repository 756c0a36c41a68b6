"""The result files: what is written, what is refused, how numbers become text."""

import json
import os
import subprocess
import time

import numpy as np
import pytest
import torch

import srlib
from srlib import results
from srlib.precision import number_format

RUN = {"profile": "smoke", "source": "twin", "seed": 3, "seconds": 1.5}


def test_writes_plain_numbers_with_their_provenance(tmp_path):
    values = {
        "fractions": np.array([0.25, 0.75], np.float32),
        "areas": {(0, 1): np.float64(0.125), (0, 2): 0.5},
        "count": np.int64(7),
        "ok": np.bool_(True),
        "tensor": torch.tensor([[1.0, 2.0]]),
        "none": None,
        "by": {4: "nearest"},
    }
    path = results.write("12_case3", values, out_dir=tmp_path / "new" / "folder", **RUN)
    assert path == tmp_path / "new" / "folder" / "12_case3.json"
    record = results.read(path)
    assert record["values"] == {
        "fractions": [0.25, 0.75],
        "areas": {"0-1": 0.125, "0-2": 0.5},
        "count": 7,
        "ok": True,
        "tensor": [[1.0, 2.0]],
        "none": None,
        "by": {"4": "nearest"},
    }
    assert {key: record[key] for key in RUN} == RUN
    assert record["notebook"] == "12_case3"
    assert record["cores"] >= 1
    assert record["date"].endswith("+00:00")
    assert record["versions"]["srlib"] == srlib.__version__
    assert record["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": {"b": float("nan")}}, r"values\['a'\]\['b'\] is nan"),
        ({"areas": {(0, 1): np.inf}}, r"values\['areas'\]\['0-1'\] is inf"),
        ({"s2": np.array([0.1, np.nan])}, r"values\['s2'\]\[1\] is nan"),
        ({"model": object()}, r"values\['model'\] is a object"),
        ([1, 2], "give a dictionary"),
    ],
)
def test_refuses_what_is_no_result_and_writes_nothing(tmp_path, values, words):
    with pytest.raises(ValueError, match=words):
        results.write("a", values, out_dir=tmp_path, **RUN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "../a"])
def test_refuses_a_name_that_is_a_path(tmp_path, name):
    with pytest.raises(ValueError, match="plain name"):
        results.write(name, {}, out_dir=tmp_path, **RUN)


def test_a_folder_that_cannot_be_written_gives_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write .*: free some space or choose another folder"):
        results.write("a", {}, out_dir=tmp_path / "file" / "folder", **RUN)


def test_a_run_cut_short_keeps_the_old_file(tmp_path, monkeypatch):
    path = results.write("a", {"x": 1}, out_dir=tmp_path, **RUN)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        results.write("a", {"x": 2}, out_dir=tmp_path, **RUN)
    assert results.read(path)["values"] == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "run its notebook first"), ("{", "cannot be read"), ("[1]", "holds no 'values'")],
)
def test_read_says_what_is_wrong(tmp_path, content, words):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=words):
        results.read(path)


def test_device_and_numbers_are_those_of_the_run(tmp_path, monkeypatch):
    record = results.read(results.write("a", {}, out_dir=tmp_path, **RUN))
    assert record["device"] == "cpu"
    assert record["threads"] == torch.get_num_threads()
    assert record["numbers"] == str(number_format()).removeprefix("torch.")
    assert torch.backends.cpu.get_cpu_capability() in record["processor"]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    record = results.read(results.write("a", {}, out_dir=tmp_path, **RUN))
    assert (record["device"], record["numbers"]) == ("NVIDIA H100", "bfloat16")


@pytest.mark.parametrize("commit", ["unknown", 40 * "a" + "+changes"])
def test_stored_results_refuse_code_that_is_not_committed(tmp_path, monkeypatch, commit):
    monkeypatch.setattr(results, "_ROOT", tmp_path.resolve())
    monkeypatch.setattr(results, "commit", lambda: commit)
    for folder in ("laptop", "full"):
        with pytest.raises(ValueError, match="commit first, or choose another folder"):
            results.write("a", {}, out_dir=tmp_path / "results" / folder, **RUN)
    assert not (tmp_path / "results").exists()
    results.write("a", {}, out_dir=tmp_path / "results", **RUN)
    monkeypatch.setattr(results, "commit", lambda: 40 * "a")
    results.write("a", {}, out_dir=tmp_path / "results" / "full", **RUN)


def test_commit_names_the_checkout_and_its_changes(tmp_path, monkeypatch):
    root = tmp_path.resolve()
    monkeypatch.setattr(results, "_ROOT", root)
    assert results.commit() == "unknown"

    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        run = subprocess.run(
            ["git", "-C", str(root), *name, *words], check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    git("init", "-q")
    (root / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")
    (root / "untracked").write_text("a result")
    assert results.commit() == head and results.is_known(head)
    (root / "results").mkdir()
    (root / "results" / "a.json").write_text("1")
    git("add", "results")
    assert results.commit() == head, "a stored result is no change of what made it"
    (root / "file").write_text("2")
    assert results.commit() == head + "+changes"
    assert not results.is_known(head + "+changes") and not results.is_known(40 * "a")
    monkeypatch.setattr(results, "_ROOT", root / "site-packages")
    (root / "site-packages").mkdir()
    assert results.commit() == "unknown"


def test_provenance_names_data_profile_seeds_and_device():
    text = results.provenance(source="twin", profile="laptop", seed=[0, 1])
    assert text == "Synthetic twin data; profile laptop; seeds 0, 1; device cpu."
    assert results.provenance(source="real", seed=np.int64(4)) == "Real data; seed 4; device cpu."
    stored = results.provenance(source="real", profile="study", trained="H100")
    assert stored == "Real data; profile study; trained on H100."
    with pytest.raises(ValueError, match="should be 'real', 'twin' or 'user'"):
        results.provenance(source="auto")


def test_a_run_says_the_same_in_captions_and_file(tmp_path):
    how = {"profile": "smoke", "source": "twin", "seed": [0, 1]}
    run = results.Run("12_a", **how, out_dir=tmp_path, start=time.perf_counter() - 100)
    assert run.provenance() == results.provenance(**how)
    other = run.provenance(seed=5, source="real", profile=None)
    assert other == "Real data; seed 5; device cpu."
    stored = run.provenance(profile="study", trained="H100")
    assert stored == results.provenance(**how | {"profile": "study"}, trained="H100")
    record = results.read(run.write({"x": 2}))
    assert {key: record[key] for key in how} == how
    assert record["notebook"] == "12_a" and record["values"] == {"x": 2}
    assert 100 < record["seconds"] < 110
    assert results.Run("b", **how, out_dir=tmp_path).start < time.perf_counter()


def test_runs_are_pooled_and_one_stays_as_it_is():
    rows = [{"a": 1, "b": 0.5}, {"a": 5, "b": 0.5}]
    assert results.pooled(rows) == {"a": (3, 2), "b": (0.5, 0)}
    assert results.pooled(rows[:1]) == {"a": 1, "b": 0.5}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0, 3.0], "2.0 ± 1.0"),
        ([0.0091, 0.0115], "0.0103 ± 0.0017"),
        ([0.5, 0.5], "0.500 ± 0"),
        ([0.12345], "0.123"),
        (np.array([[1000.0, 1200.0]]), "1100 ± 141"),
        ([10.0, 10.1408], "10.07 ± 0.10"),
    ],
)
def test_spread_is_mean_and_sample_deviation(values, text):
    assert results.spread(values) == text


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_spread_refuses_nothing_and_nan(values):
    with pytest.raises(ValueError, match="at least one number"):
        results.spread(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (-0.5, "-0.500"),
        (0.99951, "1.00"),
        (123456.7, "123457"),
        (1.5e-7, "1.50e-07"),
        (2.5e9, "2.50e+09"),
        (0, "0"),
        (np.int64(12), "12"),
    ],
)
def test_number_has_three_significant_digits(value, text):
    assert results.number(value) == text


def test_the_file_is_json_for_other_tools(tmp_path):
    path = results.write("a", {"text": "µm ± 1"}, out_dir=tmp_path, **RUN)
    assert json.loads(path.read_text(encoding="utf-8"))["values"]["text"] == "µm ± 1"
    assert path.stat().st_mode & 0o077 == 0o044


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "–"), (float("inf"), "∞"), (-float("inf"), "-∞"), (2.5, "2.50")],
)
def test_a_number_that_is_none_is_still_text(value, text):
    assert results.number(value) == text
    assert results.plus_minus(value, 0.5).startswith(text[:2])


def test_a_study_is_read_by_arm_and_summed_up(tmp_path, monkeypatch):
    how = dict(profile="laptop", source="twin", seconds=1.0, out_dir=tmp_path)
    for arm, seed, value in (("noise-0", 0, 1), ("noise-0", 1, 3), ("noise-0-small", 0, 9)):
        monkeypatch.setattr(results, "device", lambda gpu=value == 3: "H100" if gpu else "cpu")
        results.write(f"size-{arm}-{seed}", {"error": value}, seed=seed, **how)
    found = results.study("size", ["noise-0-small", "noise-0", "noise", "none"], tmp_path)
    large, first, second = (
        {"error": e, "device": d} for e, d in zip((9, 1, 3), ("cpu", "cpu", "H100"), strict=True)
    )
    assert found == {"noise-0-small": [large], "noise-0": [first, second]}
    assert results.devices(found) == "H100 and cpu"
    assert results.devices({"noise-0-small": [large]}) == "cpu"
    rows = results.measured(found, {"twice": lambda run: 2 * run["error"]})
    assert rows == {"noise-0-small": {"twice": [18]}, "noise-0": {"twice": [2, 6]}}
    table = results.summary(rows)
    assert table["noise-0-small"] == {"trainings": 1, "twice": 18}
    assert table["noise-0"] == {"trainings": 2, "twice": (4, pytest.approx(8**0.5))}
    some = {"large": lambda run: run["error"] if run["error"] > 2 else None, "no": lambda run: None}
    rows = results.measured({"noise-0": found["noise-0"]}, some)
    assert rows == {"noise-0": {"large": [3], "no": []}}
    assert results.summary(rows)["noise-0"] == {"trainings": 1, "large": 3, "no": None}
