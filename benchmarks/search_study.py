"""How far a longer latent search gets: chapter 25 from the same starts, with more steps.

``python -m benchmarks.search_study`` runs the chapter itself with these steps, in about ten minutes
of one core, and writes ``results/full/search-STEPS-SEED.json``, which the chapter shows.
"""

from pathlib import Path

import papermill

from benchmarks.study import ROOT, sweep
from srlib import results

ARMS = {"500": {"STEPS": 500, "RESTARTS": 2}}
CHAPTER = "25_search"


def run(arm: str, seed: int, work: Path) -> dict:
    """Run the chapter with the steps of an arm; what it has written."""
    work.mkdir(parents=True, exist_ok=True)
    chapter = ROOT / "notebooks" / f"{CHAPTER}.ipynb"
    values = {"PROFILE": "laptop", "SEED": seed, "OUT_DIR": str(work.resolve()), **ARMS[arm]}
    papermill.execute_notebook(chapter, work / chapter.name, values, cwd=chapter.parent)
    return results.read(work / f"{CHAPTER}.json")["values"]


if __name__ == "__main__":
    sweep(__doc__, "search", ARMS, run, "twin", seeds=(0,))
