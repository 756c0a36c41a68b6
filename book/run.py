"""Run notebooks at a profile with papermill, two at a time, and report each one in a line."""

import argparse
import html
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PROFILES = ("smoke", "laptop", "paper")
WORKERS = 2


@dataclass
class Row:
    """What one notebook's run came to."""

    stem: str
    ok: bool
    seconds: float
    cpu: float
    megabytes: float
    error: str
    claim: str = ""

    def line(self) -> str:
        state = "passed" if self.ok else "FAILED"
        text = f"{self.stem:<24} {state} {self.seconds:7.1f} s"
        text += f" {self.cpu:7.1f} s of CPU {self.megabytes:7.0f} MB"
        return text if self.ok else f"{text}\n{self.error}"


def notebooks() -> list[Path]:
    """Every notebook of the book, in order, with the template last."""
    return sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda p: (p.stem.startswith("_"), p.stem))


def profile_parameters(profile: str) -> dict[str, dict]:
    """Parameters of every notebook at ``profile``, from ``notebooks/profiles.yml``.

    Raises:
        ValueError: if the profile is unknown.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is unknown: choose one of {', '.join(PROFILES)}")
    table = yaml.safe_load((NOTEBOOKS / "profiles.yml").read_text())
    return {stem: profiles.get(profile) or {} for stem, profiles in table.items()}


def write_kernel(folder: Path) -> None:
    """Describe a python3 kernel that is this very interpreter, under ``folder`` only."""
    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    (spec / "kernel.json").write_text(text)


def environment(out_dir: Path) -> dict[str, str]:
    """Environment of a worker: one thread, our kernel first, the interpreter's tools on PATH."""
    jupyter = out_dir / "jupyter"
    write_kernel(jupyter)
    paths = [str(jupyter), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",  # else numba raises the number that PyTorch uses, too
        "JUPYTER_PATH": os.pathsep.join(paths),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def kernel_bytes(worker: int) -> int:
    """Memory that the kernel of a worker and its helpers hold now."""
    try:
        return sum(p.memory_info().rss for p in psutil.Process(worker).children(recursive=True))
    except psutil.Error:
        return 0


def wait(process: subprocess.Popen, limit: float) -> tuple[int, float, float, bool]:
    """Wait at most ``limit`` s: exit status, CPU seconds, peak MB of the kernel, timed out."""
    deadline, peak, late = time.monotonic() + limit, 0, False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime, peak / 2**20, late
        peak = max(peak, kernel_bytes(process.pid))
        if time.monotonic() > deadline and not late:
            late = True
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)


def error_of(copy: Path, log: Path) -> tuple[bool, str]:
    """Whether any cell of an executed copy had started, and what went wrong in a few lines."""
    cells = json.loads(copy.read_text())["cells"] if copy.exists() else []
    started = False
    for number, cell in enumerate(cells):
        started |= bool(cell["metadata"].get("papermill", {}).get("start_time"))
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return True, f"    cell {number}: {output['ename']}: {output['evalue']}"
    tail = log.read_text(errors="replace").strip().splitlines()[-4:]
    return started, "\n".join(f"    {line}" for line in tail)


def inputs_of(path: Path) -> str:
    """What a notebook may read, each file with the time of its last change: a line a file."""
    read = ("srlib/**/*.py", "weights/*", "results/laptop/*.json", "constraints.txt")
    files = [path, NOTEBOOKS / "profiles.yml", *(p for each in read for p in ROOT.glob(each))]
    for folder in filter(None, [os.environ.get("SRLIB_DATA"), ROOT / "data" / "raw"]):
        files += Path(folder).expanduser().glob("*")
    return "\n".join(sorted(f"{file} {file.stat().st_mtime_ns}" for file in files))


def is_current(path: Path, out_dir: Path) -> bool:
    """Whether the last run of a notebook passed, and nothing that it may read has changed since."""
    noted = out_dir / "logs" / f"{path.stem}.inputs"
    made = (out_dir / "notebooks" / path.name).exists() and noted.exists()
    return made and noted.read_text() == inputs_of(path)


def run_one(path: Path, parameters: dict, out_dir: Path, limit: float) -> Row:
    """Run one notebook in its own process; once more if its kernel did not start."""
    copy, log = out_dir / "notebooks" / path.name, out_dir / "logs" / f"{path.stem}.log"
    chosen = out_dir / "logs" / f"{path.stem}.yml"
    chosen.write_text(yaml.safe_dump(parameters))
    noted, inputs = out_dir / "logs" / f"{path.stem}.inputs", inputs_of(path)
    noted.unlink(missing_ok=True)
    command = [sys.executable, "-m", "papermill", str(path), str(copy), "-k", "python3"]
    command += ["--cwd", str(path.parent), "--no-progress-bar", "--start-timeout", "120"]
    command += ["-f", str(chosen)] if parameters else []
    begin = time.monotonic()
    for attempt in range(2):
        copy.unlink(missing_ok=True)
        with log.open("a" if attempt else "w") as sink:
            streams = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": sink}
            process = subprocess.Popen(command, env=environment(out_dir), **streams)
            status, cpu, megabytes, late = wait(process, limit)
        started, error = error_of(copy, log)
        if status == 0 or late or started:
            break
    if late:
        error = f"    stopped: it took more than {limit:.0f} s"
    ok = status == 0
    if ok:
        noted.write_text(inputs)
    return Row(path.stem, ok, time.monotonic() - begin, cpu, megabytes, "" if ok else error)


def run_all(
    profile: str, paths: list[Path], out_dir: Path, limit: float, keep: bool = False
) -> list[Row]:
    """Run notebooks at a profile and print a line for each as it ends.

    The laptop profile is what a notebook's own cell says, so its results go to ``results/``;
    other profiles keep theirs apart under ``out_dir``.

    Args:
        profile: ``"smoke"``, ``"laptop"`` or ``"paper"``.
        paths: notebooks to run; those of later chapters, the longer ones, start first.
        out_dir: gets ``notebooks/`` (executed copies), ``results/``, ``logs/``, ``report.html``.
        limit: seconds after which a notebook is stopped and counts as failed.
        keep: leave out what has run before and is current, as after an interruption.

    Returns:
        One row a notebook, in the order of ``paths``.
    """
    table = profile_parameters(profile)
    results = os.path.relpath(out_dir / "results", NOTEBOOKS)
    shared = {} if profile == "laptop" else {"PROFILE": profile, "OUT_DIR": results}
    for name in ("notebooks", "results", "logs"):
        (out_dir / name).mkdir(parents=True, exist_ok=True)
    rows = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = []
        for path in reversed(paths):
            if keep and is_current(path, out_dir):
                rows[path.stem] = Row(path.stem, True, 0, 0, 0, "")
                print(f"{path.stem:<24} passed before, and nothing that it reads has changed")
                continue
            parameters = shared | table.get(path.stem, {})
            jobs.append(pool.submit(run_one, path, parameters, out_dir, limit))
        for job in as_completed(jobs):
            row = job.result()
            rows[row.stem] = row
            print(row.line(), flush=True)
    ordered = [rows[path.stem] for path in paths]
    write_report(profile, ordered, out_dir / "report.html")
    return ordered


def write_report(profile: str, rows: list[Row], path: Path) -> None:
    """Write a page with one table: state, seconds, memory and claim of every notebook."""
    names = ("notebook", "state", "seconds", "CPU seconds", "MB", "claim", "error")
    lines = ["".join(f"<th>{name}</th>" for name in names)]
    for row in rows:
        state = "passed" if row.ok else "failed"
        cells = [state, *(f"{number:.1f}" for number in (row.seconds, row.cpu, row.megabytes))]
        cells += [row.claim, row.error.strip()]
        link = f'<td><a href="logs/{row.stem}.log">{row.stem}</a></td>'
        lines.append(link + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>Notebooks at {profile}</title>"
        "<style>body{font:16px sans-serif}td,th{padding:.3em .8em;text-align:left}</style>"
        f"<h1>Notebooks at the {profile} profile</h1>"
        f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="laptop")
    parser.add_argument("--limit", type=float, default=3600, help="seconds a notebook may take")
    parser.add_argument("stems", nargs="*", help="notebooks, such as 01_metrics; all if none")
    chosen = parser.parse_args()
    known = [path.stem for path in notebooks()]
    if unknown := set(chosen.stems) - set(known):
        parser.error(f"there is no notebook {unknown.pop()!r}: choose from {', '.join(known)}")
    paths = [path for path in notebooks() if not chosen.stems or path.stem in chosen.stems]
    rows = run_all(chosen.profile, paths, ROOT / "_build" / chosen.profile, chosen.limit)
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
