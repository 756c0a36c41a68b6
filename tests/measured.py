"""Which lines of srlib the unit tests run: one line at the end of ``make test``.

Tests import this before srlib, so that its definitions count. Chapters, and other processes that
tests start, are not seen.
"""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "_build" / "coverage"  # as pyproject.toml says
running = None

if "SRLIB_COVERAGE" in os.environ:
    import coverage

    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(DATA, ignore_errors=True)
    running = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"), data_suffix=True)
    running.start()


def finish() -> None:
    """Write what this process has seen."""
    if running:
        running.stop()
        running.save()


def line() -> str:
    """What all processes have seen together, and the five files of which it is least."""
    whole = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    whole.combine()  # for `coverage report`, too
    shares, lines, missed = {}, 0, 0
    for path in sorted((ROOT / "srlib").rglob("*.py")):
        _, there, _, left, _ = whole.analysis2(str(path))
        lines, missed = lines + len(there), missed + len(left)
        if there:
            shares[str(path.relative_to(ROOT))] = 100 - 100 * len(left) / len(there)
    least = sorted(shares, key=shares.get)[:5]
    return (
        f"unit tests run {100 - 100 * missed / lines:.1f} % of the lines of srlib (chapters do not "
        f"count), least of {', '.join(f'{name} {shares[name]:.0f} %' for name in least)}"
    )
