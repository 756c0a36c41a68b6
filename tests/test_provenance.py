"""What is stored names the code that made it, and a command says what is stale."""

import json

import pytest

from book import stale, store
from srlib import results


def here_is_history() -> bool:
    return results.is_clean(results.commit().removesuffix("+changes")) and not shallow()


def shallow() -> bool:
    return (stale.ROOT / ".git" / "shallow").exists()


@pytest.mark.skipif(not here_is_history(), reason="this checkout has no history to look into")
def test_every_stored_file_names_a_clean_commit_that_is_here():
    """Those of before the rule are listed; a file leaves the list by a new run, and none joins."""
    listed = set(stale.UNVERIFIED.read_text().split())
    without = {
        str(p.relative_to(stale.ROOT)) for p in stale.stored() if not stale.has_provenance(p)
    }
    assert without - listed == set(), "stored without a commit: run from committed code"
    assert listed - without == set(), f"these have one now: take them off {stale.UNVERIFIED.name}"


def little_run(tmp_path, monkeypatch, commit: str):
    """A repository with one chapter, which has run."""
    monkeypatch.setattr(store.run, "notebooks", lambda: [tmp_path / "00_a.ipynb"])
    for name in ("_build/laptop/logs", "results/laptop", "book"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "results" / "00_a.json").write_text("{}")
    machine = {"processor": "A, AVX2", "cores": 2, "threads": 2}
    row = {"commit": commit, "machine": machine, "seconds": 50, "core_seconds": 48, "MB": 900}
    (tmp_path / "_build/laptop/logs/00_a.json").write_text(json.dumps(row))
    return tmp_path


def test_a_run_is_stored_with_its_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(store.results, "is_known", lambda commit: True)
    store.store("laptop", [], little_run(tmp_path, monkeypatch, "c"))
    assert (tmp_path / "results" / "laptop" / "00_a.json").exists()
    table = json.loads((tmp_path / "book" / "seconds.json").read_text())
    row = table["laptop"]["chapters"]["00_a"]
    assert (row["seconds"], row["processor"], row["threads"]) == (50, "A, AVX2", 2)


@pytest.mark.parametrize("commit", ["unknown", 40 * "a", 40 * "a" + "+changes"])
def test_a_run_of_code_that_is_not_committed_is_not_stored(tmp_path, monkeypatch, commit):
    with pytest.raises(ValueError, match="00_a ran with code that is not committed"):
        store.store("laptop", [], little_run(tmp_path, monkeypatch, commit))
    assert not (tmp_path / "results" / "laptop" / "00_a.json").exists()
    (tmp_path / "_build/laptop/logs/00_a.json").unlink()
    with pytest.raises(ValueError, match="00_a has not run at this profile"):
        store.store("laptop", ["00"], tmp_path)


def test_stale_says_what_has_changed_since(tmp_path, monkeypatch):
    monkeypatch.setattr(stale, "ROOT", tmp_path)
    (tmp_path / "results" / "full").mkdir(parents=True)
    for name, commit in (("a", "1"), ("b", "2"), ("c", "30000000+changes")):
        (tmp_path / "results/full" / f"{name}.json").write_text(json.dumps({"commit": commit}))
    monkeypatch.setattr(stale.results, "is_known", lambda commit: commit in "12")
    monkeypatch.setattr(stale, "changed_since", lambda commit, *paths: 3 if commit == "1" else 0)
    assert stale.lines() == [
        "results/full/a.json: 3 files of its code have changed since 1",
        "results/full/c.json: made by uncommitted changes (30000000)",
    ]
