"""What is stored and does not stand for the code any more: ``python -m book.stale``.

A line for each file of ``results/`` and each network of ``weights/`` whose commit is missing or was
not clean, or since whose commit the code that made it has changed.
"""

import json
import subprocess
from functools import cache
from pathlib import Path

from book import run
from srlib import results

ROOT = run.ROOT
UNVERIFIED = ROOT / "results" / "unverified.txt"  # stored before the rule; it may only get shorter


def stored() -> list[Path]:
    """Every file that names the commit that made it."""
    folders = ("results/laptop/*.json", "results/full/*.json", "weights/*.json")
    return sorted(path for pattern in folders for path in ROOT.glob(pattern))


@cache
def changed_since(commit: str, *paths: str) -> int:
    """Files among ``paths`` that differ between a commit and now."""
    command = ["git", "-C", str(ROOT), "diff", "--name-only", commit, "--", *paths]
    return len(subprocess.run(command, capture_output=True, text=True).stdout.splitlines())


def code_of(path: Path) -> tuple[str, ...]:
    """Where the code lies that made a stored file, as far as the file's place tells."""
    if path.parent.name == "weights":
        return ("srlib/training", "srlib/models", "srlib/losses", "srlib/datasets.py")
    notebook = run.NOTEBOOKS / f"{path.stem}.ipynb"
    own = str(notebook.relative_to(ROOT)) if notebook.exists() else "benchmarks"
    return ("srlib", own)


def has_provenance(path: Path) -> bool:
    """Whether a stored file names a commit that was clean and is in the repository."""
    return results.is_known(json.loads(path.read_text())["commit"])


def lines() -> list[str]:
    """What to say of each stored file that is not of this very code."""
    said = []
    for path in stored():
        name, commit = path.relative_to(ROOT), json.loads(path.read_text())["commit"]
        if not results.is_known(commit):
            state = "uncommitted changes" if "+" in commit else "a commit that is not here"
            said.append(f"{name}: made by {state} ({commit[:8]})")
        elif count := changed_since(commit, *code_of(path)):
            said.append(f"{name}: {count} files of its code have changed since {commit[:8]}")
    return said


def main() -> None:
    found = lines()
    print("\n".join(found))
    print(f"{len(found)} of {len(stored())} stored files are stale")


if __name__ == "__main__":
    main()
