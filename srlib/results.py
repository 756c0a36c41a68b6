"""Results of a run: one JSON file a notebook, with where, when and how it was made.

The prose of the book takes its numbers from these files, never by hand. ``results/laptop`` holds
what ``make book`` came to, ``results/full`` the longer runs and the studies.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

import srlib
from srlib.precision import number_format
from srlib.storage import write_atomic

_ROOT = Path(__file__).resolve().parent.parent
_STATUS = ("status", "--porcelain", "-uno", "--", ".", ":(exclude)results", ":(exclude)weights")
_IMPORTED = time.perf_counter()
DATA = {"real": "Real data", "twin": "Synthetic twin data", "user": "Own data"}


@dataclass(frozen=True)
class Run:
    """What a chapter says of its run, in every caption and with its results.

    Args:
        notebook: Name of the notebook without its ending, e.g. ``"12_case3_fuel_cell"``.
        profile: ``"smoke"``, ``"laptop"`` or ``"full"``.
        source: ``"real"`` or ``"twin"``.
        seed: The seed, or the seeds when the values pool several runs.
        out_dir: Folder of the results.
        start: Of the clock ``time.perf_counter``; by default the imports, a chapter's first cell.
    """

    notebook: str
    profile: str
    source: str
    seed: int | Sequence[int]
    out_dir: str | Path
    start: float = _IMPORTED

    def provenance(self, **other: Any) -> str:
        """The sentence that ends a caption: :func:`provenance` of this run.

        Args:
            other: What is another for this figure: ``source``, ``profile``, ``seed``; ``trained``.
        """
        own = {"source": self.source, "profile": self.profile, "seed": self.seed}
        return provenance(**own | other)

    def write(self, values: Mapping[str, Any]) -> Path:
        """Write the results, as :func:`write` does; the seconds are those since ``start``."""
        seconds = time.perf_counter() - self.start
        own: dict[str, Any] = {"profile": self.profile, "source": self.source, "seed": self.seed}
        return write(self.notebook, values, **own, seconds=seconds, out_dir=self.out_dir)


def write(
    notebook: str,
    values: Mapping[str, Any],
    *,
    profile: str,
    source: str,
    seed: int | Sequence[int],
    seconds: float,
    out_dir: str | Path,
) -> Path:
    """Write ``out_dir/<notebook>.json``, whole or not at all, with commit and machine of the run.

    Args:
        notebook: Name of the notebook without its ending, e.g. ``"12_case3_fuel_cell"``.
        values: What was measured, nested dictionaries of numbers, text, lists and arrays.
            A tuple key such as the phase pair ``(0, 1)`` becomes ``"0-1"``.
        profile: ``"smoke"``, ``"laptop"`` or ``"full"``.
        source: ``"real"`` or ``"twin"``.
        seed: The seed, or the seeds when the values pool several runs.
        seconds: Wall-clock seconds of the run.
        out_dir: Folder for the file; made if it is missing.

    Returns:
        Path of the file.

    Raises:
        ValueError: if a value is NaN, infinite or not a number, text, list or dictionary,
            if ``values`` is not a dictionary or ``notebook`` not a plain name, or if ``out_dir``
            is a folder of stored results and the code that made them is not committed.
        OSError: if the file cannot be written; a former one is untouched.
    """
    if not notebook or Path(notebook).name != notebook:
        raise ValueError(f"notebook={notebook!r} should be a plain name such as '01_metrics'.")
    if not isinstance(values, Mapping):
        raise ValueError(f"values is a {type(values).__name__}: give a dictionary of results.")
    made_by = commit()
    if Path(out_dir).resolve().parent == _ROOT / "results" and not is_clean(made_by):
        raise ValueError(
            f"Results in {out_dir} name the commit that made them, and files differ from it: "
            "commit first, or choose another folder."
        )
    record = {
        "notebook": notebook,
        "profile": profile,
        "source": source,
        "seed": _plain(seed, "seed"),
        "seconds": _plain(seconds, "seconds"),
        **machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": made_by,
        "versions": _versions(),
        "values": _plain(values, "values"),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    text = re.sub(r"\[(?:[\s\d.,eE+-]|null)+\]", lambda numbers: " ".join(numbers[0].split()), text)
    return write_atomic(Path(out_dir) / f"{notebook}.json", text.encode())


def provenance(
    *,
    source: str,
    profile: str | None = None,
    seed: int | Sequence[int] | None = None,
    trained: str | None = None,
) -> str:
    """The sentence that ends a caption: which data, profile, seed and device.

    The device is that of this process; it is never given.

    Args:
        source: ``"real"``, ``"twin"`` or ``"user"``.
        profile: ``"smoke"``, ``"laptop"`` or ``"full"``, or ``"study"`` for a study's.
        seed: One seed, or several.
        trained: Where the trainings of a study ran, of :func:`devices`, if its
            stored numbers are drawn; then this process counts for nothing.

    Raises:
        ValueError: if ``source`` is none of these.
    """
    if source not in DATA:
        raise ValueError(f"source={source!r} should be 'real', 'twin' or 'user'.")
    parts = [DATA[source]]
    if profile:
        parts.append(f"profile {profile}")
    if seed is not None:
        seeds = [int(one) for one in np.atleast_1d(seed)]
        parts.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    parts.append(f"trained on {trained}" if trained else f"device {device()}")
    return "; ".join(parts) + "."


def read(path: str | Path) -> dict[str, Any]:
    """Read a file made by :func:`write`.

    Args:
        path: The JSON file.

    Returns:
        The record; what was measured is under ``"values"``.

    Raises:
        ValueError: if the file is missing or is not a result file.

    Example:
        >>> import tempfile
        >>> from srlib import results
        >>> about = dict(profile="smoke", source="twin", seed=0, seconds=1.5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = results.write("mine", {"porosity": 0.25}, out_dir=folder, **about)
        ...     results.read(path)["values"]
        {'porosity': 0.25}
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"There is no result file {path}: run its notebook first.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON: run its notebook again.") from error
    if not isinstance(record, dict) or "values" not in record:
        raise ValueError(f"{path} holds no 'values': it was not written by srlib.results.write.")
    return record


def study(
    name: str, arms: Iterable[str], folder: str | Path = "../results/full"
) -> dict[str, list[dict]]:
    """What a study has found: arm -> the values of its trainings, in the order of their seeds.

    Each training also says its ``"device"``.

    Args:
        name: Of the study; its files are ``NAME-ARM-SEED.json``.
        arms: Those to read; one without a file is left out.
        folder: Where they are.
    """
    found = {arm: sorted(Path(folder).glob(f"{name}-{arm}-[0-9]*.json")) for arm in arms}
    found = {arm: [p for p in paths if _seed(p, name, arm)] for arm, paths in found.items()}
    files = {arm: [read(p) for p in paths] for arm, paths in found.items() if paths}
    return {arm: [f["values"] | {"device": f["device"]} for f in of] for arm, of in files.items()}


def devices(runs: Mapping[str, Sequence[dict]]) -> str:
    """Where the trainings of a study ran, for :func:`provenance`: e.g. ``"cpu and cuda"``."""
    return " and ".join(sorted({run["device"] for found in runs.values() for run in found}))


def _seed(path: Path, name: str, arm: str) -> bool:
    return path.stem.removeprefix(f"{name}-{arm}-").isdigit()


def measured(
    runs: Mapping[str, Sequence[dict]], measures: Mapping[str, Callable[[dict], float | None]]
) -> dict[str, dict[str, list[float]]]:
    """Measures of every training: arm -> measure -> a number for each, for ``viz.arms``.

    A measure that is None for a training is left out.
    """
    return {
        arm: {
            name: [float(x) for x in map(of, found) if x is not None]
            for name, of in measures.items()
        }
        for arm, found in runs.items()
    }


def summary(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Any]]:
    """The same for ``viz.table``: mean and sample deviation, the number if one, None if none."""

    def cell(values: Sequence[float]) -> Any:
        if len(values) < 2:
            return values[0] if values else None
        return float(np.mean(values)), float(np.std(values, ddof=1))

    return {
        arm: {"trainings": max(map(len, row.values()))} | {k: cell(v) for k, v in row.items()}
        for arm, row in rows.items()
    }


def pooled(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation of each measure over runs, the number alone if there is one."""
    if len(rows) == 1:
        return dict(rows[0])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: (np.mean(column), np.std(column)) for name, column in columns.items()}


def spread(values: Any) -> str:
    """Mean and sample standard deviation as text, e.g. ``"0.0103 ± 0.0012"``.

    Args:
        values: Numbers, any shape; one number gives the number alone.

    Returns:
        Text with two significant digits of the standard deviation.

    Raises:
        ValueError: if there is no number, or one is NaN or infinite.

    Example:
        >>> from srlib import results
        >>> results.spread([0.010, 0.012, 0.009])
        '0.0103 ± 0.0015'
        >>> results.spread(0.0123456)
        '0.0123'
    """
    array = np.asarray(values, dtype=float).ravel()
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError("spread needs at least one number and none of them NaN or infinite.")
    if array.size == 1:
        return number(array[0])
    return plus_minus(array.mean(), array.std(ddof=1))


def plus_minus(mean: float, deviation: float) -> str:
    """``mean ± deviation`` with two significant digits of the deviation."""
    if deviation == 0 or not math.isfinite(mean + deviation):
        return f"{number(mean)} ± {number(deviation)}"
    decimals = max(0, 1 - int(f"{abs(deviation):.1e}".split("e")[1]))
    return f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, in plain decimals between 1e-4 and 1e6.

    Example:
        >>> from srlib import results
        >>> [results.number(x) for x in (1234.5, 0.012345, 1.2e-6, 7, float("nan"))]
        ['1234', '0.0123', '1.20e-06', '7', '–']
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if isinstance(value, Integral) or value == 0:
        return str(int(value))
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if not -5 < exponent < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def commit() -> str:
    """Git commit of this checkout, ``+changes`` if code or text differs, else ``"unknown"``."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        top, head = git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != _ROOT:
            return "unknown"
        return head + ("+changes" if git(*_STATUS) else "")
    except (OSError, ValueError, subprocess.SubprocessError):
        return "unknown"


def is_clean(commit: str) -> bool:
    """Whether a commit, as :func:`commit` names it, stands for exactly what ran."""
    return bool(re.fullmatch("[0-9a-f]{40}", commit))


def is_known(commit: str) -> bool:
    """Whether a commit is clean and this repository has it."""
    command = ["git", "-C", str(_ROOT), "cat-file", "-e", f"{commit}^{{commit}}"]
    return is_clean(commit) and not subprocess.run(command, capture_output=True).returncode


def device() -> str:
    """Where this process computes: the name of its GPU once it has used one, else ``"cpu"``."""
    return torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"


def machine() -> dict[str, Any]:
    """What this process runs on: device, processor, number format, threads and cores."""
    kind = "cuda" if torch.cuda.is_initialized() else "cpu"
    return {
        "device": device(),
        "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "numbers": str(number_format(kind)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "cores": _cores(),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _plain(value: Any, name: str) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {float(value)}: results hold finite numbers only.")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, f"{name}[{_key(key)!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), name)
    raise ValueError(
        f"{name} is a {type(value).__name__}: results hold numbers, text, lists and dictionaries."
    )


def _key(key: Any) -> str:
    return "-".join(str(part) for part in key) if isinstance(key, tuple) else str(key)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "not installed"
    return {
        "python": platform.python_version(),
        "torch": torch,
        "srlib": srlib.__version__,
    }
