"""Numbers stored in the repository, for the tests of what chapters promise of the long runs."""

from pathlib import Path

import numpy as np

from srlib import results

FOLDER = Path(__file__).resolve().parents[1] / "results" / "full"


def values_of(chapter: str, source: str = "real") -> dict:
    record = results.read(FOLDER / f"{chapter}.json")
    assert record["source"] == source and record["profile"] == "laptop"
    return record["values"]


def mean_size(rows: list[dict], key: str) -> float:
    """Mean over three trainings of the size of an error."""
    assert len(rows) == 3, "three trainings"
    return float(np.mean([abs(row[key]) for row in rows]))
