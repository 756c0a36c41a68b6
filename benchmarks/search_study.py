"""How far a longer latent search gets: chapter 25 from the same starts, with more steps.

``python -m benchmarks.search_study`` runs the chapter itself with these steps, in about ten minutes
of one core, and writes ``results/full/search-STEPS-SEED.json``, which the chapter shows.
"""

from pathlib import Path

from benchmarks.study import ROOT, sweep
from book.run import run_one
from srlib import results

ARMS = {"500": {"STEPS": 500, "RESTARTS": 2}}
CHAPTER = "25_search"


def run(arm: str, seed: int, work: Path) -> dict:
    """Run the chapter with the steps of an arm; what it has written."""
    for folder in ("notebooks", "logs"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    how = {"PROFILE": "laptop", "SEED": seed, "OUT_DIR": str(work.resolve()), **ARMS[arm]}
    row = run_one(ROOT / "notebooks" / f"{CHAPTER}.ipynb", how, work, limit=6 * 3600)
    if not row.ok:
        raise RuntimeError(f"the chapter did not run:\n{row.error}")
    return results.read(work / f"{CHAPTER}.json")["values"]


if __name__ == "__main__":
    sweep(__doc__, "search", ARMS, run, "twin", seeds=(0,))
