"""Keep the numbers of a run in the repository: ``python -m book.store laptop``.

Result files of ``make book`` go to ``results/laptop`` (those of the full profile are written to
``results/full`` by the run itself), and what each chapter took to ``book/seconds.json``. A run
whose code is not committed is refused.
"""

import argparse
import json
import shutil
from pathlib import Path

from book import run
from srlib import results

ROOT = run.ROOT


def took(out_dir: Path, stems: list[str]) -> dict[str, dict]:
    """What the last run of each chapter took, with its commit and machine.

    Raises:
        ValueError: if a chapter has not run, or its code is not in the repository.
    """
    found = {}
    for stem in stems:
        path = out_dir / "logs" / f"{stem}.json"
        if not path.exists():
            raise ValueError(f"{stem} has not run at this profile: run it before you store it.")
        found[stem] = json.loads(path.read_text())
        if not results.is_known(found[stem]["commit"]):
            raise ValueError(f"{stem} ran with code that is not committed: commit, run, store.")
    return found


def store(profile: str, names: list[str], root: Path = ROOT) -> None:
    """Copy result files and seconds of a profile's last run into the repository's ``results``."""
    stems = [path.stem for path in run.notebooks() if not path.stem.startswith("_")]
    stems = [stem for stem in stems if not names or stem.startswith(tuple(names))]
    rows = took(root / "_build" / profile, stems)
    if profile == "laptop":
        for stem in stems:
            shutil.copy(root / "results" / f"{stem}.json", root / "results" / "laptop")
    path = root / "book" / "seconds.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    chapters = table.setdefault(profile, {}).setdefault("chapters", {})
    for stem, row in rows.items():
        machine = row.pop("machine")
        about = {key: machine[key] for key in ("processor", "cores", "threads")}
        chapters[stem] = row | about
    total = root / "_build" / profile / "logs" / "_total.json"
    if total.exists() and not names:
        table[profile]["total"] = json.loads(total.read_text())
    table[profile]["chapters"] = dict(sorted(chapters.items()))
    path.write_text(json.dumps(dict(sorted(table.items())), indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=run.PROFILES)
    parser.add_argument("names", nargs="*", help="chapters, such as 00 12; all if none")
    chosen = parser.parse_args()
    try:
        store(chosen.profile, chosen.names)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print("Stored. Now run 'python -m book.tables'.")


if __name__ == "__main__":
    main()
