"""Run notebooks at a profile with papermill, two at a time, and report each one in a line."""

import argparse
import html
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from srlib import results
from srlib.data import find_file

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PROFILES = ("smoke", "laptop", "full")
WORKERS = 2
THREADS = 1  # of a worker
SECONDS = ROOT / "book" / "seconds.json"  # what each chapter took, by profile: book.store
RUNNING: set[subprocess.Popen] = set()
STOPPING = threading.Event()


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
        if not self.ok:
            return f"{self.stem} FAILED after {self.seconds:.0f} s\n{self.error}"
        return f"{self.stem} {self.seconds:.0f} s" if self.seconds else f"{self.stem} is up to date"


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


def environment(out_dir: Path, asked: Path) -> dict[str, str]:
    """Environment of a worker: one thread, our kernel first; data it asks for are noted."""
    jupyter = out_dir / "jupyter"
    write_kernel(jupyter)
    paths = [str(jupyter), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return os.environ | {
        "OMP_NUM_THREADS": str(THREADS),
        "NUMBA_NUM_THREADS": str(THREADS),  # else numba raises the number that PyTorch uses, too
        "SRLIB_ASKED": str(asked),
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
    deadline, peak, late, beat = time.monotonic() + limit, 0, False, 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime, peak / 2**20, late
        if beat % 10 == 0:  # to look at memory costs more than to look at the process
            peak = max(peak, kernel_bytes(process.pid))
        beat += 1
        if time.monotonic() > deadline and not late:
            late = True
            process.send_signal(signal.SIGKILL)
        time.sleep(0.1)


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


def inputs_of(path: Path, asked: Path) -> str:
    """What a notebook reads, each file with the time of its last change: a line a file.

    Args:
        path: The notebook.
        asked: Names of the data files that its last run looked for, found or not, a line a name.
    """
    read = ("srlib/**/*.py", "weights/*", "results/*/*.json", "constraints.txt")
    files = [path, NOTEBOOKS / "profiles.yml", *(p for each in read for p in ROOT.glob(each))]
    names = sorted(set(asked.read_text().splitlines())) if asked.exists() else []
    found = {name: find_file(name) for name in names}
    files += filter(None, found.values())
    missing = [f"{name} is not here" for name, file in found.items() if file is None]
    return "\n".join([*sorted(f"{file} {file.stat().st_mtime_ns}" for file in files), *missing])


def is_current(path: Path, out_dir: Path) -> bool:
    """Whether the last run of a notebook passed, and nothing that it read has changed since."""
    logs = out_dir / "logs"
    noted = logs / f"{path.stem}.inputs"
    made = (out_dir / "notebooks" / path.name).exists() and noted.exists()
    return made and noted.read_text() == inputs_of(path, logs / f"{path.stem}.asked")


def run_one(path: Path, parameters: dict, out_dir: Path, limit: float) -> Row:
    """Run one notebook in its own process; once more if its kernel did not start."""
    copy, logs = out_dir / "notebooks" / path.name, out_dir / "logs"
    log, asked, noted = (logs / f"{path.stem}.{end}" for end in ("log", "asked", "inputs"))
    chosen = logs / f"{path.stem}.yml"
    chosen.write_text(yaml.safe_dump(parameters))
    noted.unlink(missing_ok=True)
    asked.unlink(missing_ok=True)
    before = inputs_of(path, asked)
    command = [sys.executable, "-m", "papermill", str(path), str(copy), "-k", "python3"]
    command += ["--cwd", str(path.parent), "--no-progress-bar", "--start-timeout", "120"]
    command += ["-f", str(chosen)] if parameters else []
    begin = time.monotonic()
    for attempt in range(2):
        copy.unlink(missing_ok=True)
        with log.open("a" if attempt else "w") as sink:
            streams = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": sink}
            how = {"env": environment(out_dir, asked), "start_new_session": True}
            process = subprocess.Popen(command, **how, **streams)
            RUNNING.add(process)
            status, cpu, megabytes, late = wait(process, limit)
            RUNNING.discard(process)
        started, error = error_of(copy, log)
        if status == 0 or late or started or STOPPING.is_set():
            break
    if late:
        error = f"    stopped: it took more than {limit:.0f} s"
    ok, seconds = status == 0, time.monotonic() - begin
    if ok and inputs_of(path, logs / "none") == before:
        noted.write_text(inputs_of(path, asked))
    if ok:
        took = {"seconds": round(seconds), "core_seconds": round(cpu), "MB": round(megabytes)}
        machine = results.machine() | {"threads": THREADS}
        record = {"commit": results.commit(), "machine": machine} | took
        (logs / f"{path.stem}.json").write_text(json.dumps(record))
    return Row(path.stem, ok, seconds, cpu, megabytes, "" if ok else error)


def expected(profile: str) -> dict[str, float]:
    """Seconds that each notebook took when its time was stored."""
    table = json.loads(SECONDS.read_text()) if SECONDS.exists() else {}
    return {k: row["seconds"] for k, row in table.get(profile, {}).get("chapters", {}).items()}


def time_left(rows: list[Row], waiting: list[str], known: dict[str, float]) -> str:
    """``about N min left``: stored seconds, times what this machine needs more than they say."""
    done = [row for row in rows if row.seconds]
    usual = sum(known.values()) / len(known) if known else None
    typical = usual or sum(row.seconds for row in done) / max(1, len(done))
    spent, planned = (
        sum(row.seconds for row in done),
        sum(known.get(r.stem, typical) for r in done),
    )
    pace = spent / planned if planned else 1.0
    left = pace * sum(known.get(stem, typical) for stem in waiting) / WORKERS
    return f"about {left / 60:.0f} min left" if left >= 60 else "less than a minute left"


def run_all(
    profile: str, paths: list[Path], out_dir: Path, limit: float, keep: bool = False
) -> list[Row]:
    """Run notebooks at a profile and print a line for each as it ends, with the time left.

    The laptop profile is what a notebook's own cell says, so its results go to ``results/``. Those
    of the full profile go to ``results/full/`` if no file has uncommitted changes; all others stay
    under ``out_dir``.

    Args:
        profile: ``"smoke"``, ``"laptop"`` or ``"full"``.
        paths: notebooks to run; those that took longest before start first.
        out_dir: gets ``notebooks/`` (executed copies), ``results/``, ``logs/``, ``report.html``.
        limit: seconds after which a notebook is stopped and counts as failed.
        keep: leave out what has run before and is current, as after an interruption.

    Returns:
        One row a notebook, in the order of ``paths``.
    """
    table, shared = profile_parameters(profile), shared_parameters(profile, out_dir)
    for name in ("notebooks", "results", "logs"):
        (out_dir / name).mkdir(parents=True, exist_ok=True)
    current = [path for path in paths if keep and is_current(path, out_dir)]
    rows = {path.stem: Row(path.stem, True, 0, 0, 0, "") for path in current}
    waiting = [path for path in paths if path not in current]
    known = expected(profile)
    waiting.sort(key=lambda path: known.get(path.stem, 0), reverse=True)
    announce(profile, len(paths), [path.stem for path in waiting], known)
    chosen = {path: shared | table.get(path.stem, {}) for path in waiting}
    left = [path.stem for path in waiting]
    for row in run_side_by_side(chosen, out_dir, limit):
        rows[row.stem] = row
        left.remove(row.stem)
        after = f", {time_left(list(rows.values()), left, known)}" if left and row.ok else ""
        print(f"[{len(rows):2d}/{len(paths)}] {row.line()}{after}", flush=True)
    ordered = [rows[path.stem] for path in paths]
    write_report(profile, ordered, out_dir / "report.html")
    return ordered


def announce(profile: str, total: int, stems: list[str], known: dict[str, float]) -> None:
    """Print how many notebooks are current, how many will run, and about how long that takes."""
    if current := total - len(stems):
        print(f"{current} of {total} are up to date: nothing that they read has changed.")
    if stems:
        about = f": {time_left([], stems, known)}" if known else ""
        how = f"{WORKERS} at a time, the longest first{about}"
        print(f"Running {len(stems)} notebooks at the {profile} profile, {how}.", flush=True)


def shared_parameters(profile: str, out_dir: Path) -> dict[str, str]:
    """What every notebook gets at a profile; nothing at the laptop's, which its own cell says."""
    folder = out_dir / "results"
    if profile == "full":
        if results.is_clean(results.commit()):
            folder = ROOT / "results" / "full"
        else:
            print(f"There are uncommitted changes: results go to {folder}, not to results/full.")
    shared = {"PROFILE": profile, "OUT_DIR": os.path.relpath(folder, NOTEBOOKS)}
    return {} if profile == "laptop" else shared


def run_side_by_side(chosen: dict[Path, dict], out_dir: Path, limit: float) -> Iterator[Row]:
    """Run notebooks with their parameters, several at a time; yields each as it ends."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        jobs = [pool.submit(run_one, path, how, out_dir, limit) for path, how in chosen.items()]
        for job in as_completed(jobs):
            yield job.result()
    except (KeyboardInterrupt, GeneratorExit):  # here, or in what is done with a row
        pool.shutdown(wait=False, cancel_futures=True)
        stop_running()
        print("\nStopped. What has passed is kept: the same command goes on from here.")
        raise
    pool.shutdown()


def note_total(out_dir: Path, seconds: float) -> None:
    """Note what a command took from its start to its end, for ``book.store``."""
    record = {"seconds": round(seconds), "commit": results.commit()} | results.machine()
    (out_dir / "logs" / "_total.json").write_text(json.dumps(record))


def stop_running() -> None:
    """End every notebook that runs, with its kernel; none is tried again."""
    STOPPING.set()
    for process in list(RUNNING):
        with suppress(psutil.Error):
            worker = psutil.Process(process.pid)
            for each in [*worker.children(recursive=True), worker]:
                with suppress(psutil.Error):  # one that has just ended is no reason to spare others
                    each.kill()


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


def chapters(names: list[str], parser: argparse.ArgumentParser) -> list[Path]:
    """The notebooks that names such as ``12`` or ``12_case3_fuel_cell`` begin; all if no name."""
    paths = notebooks()
    for name in names:
        if not any(path.stem.startswith(name) for path in paths):
            known = ", ".join(path.stem for path in paths)
            parser.error(f"there is no notebook {name!r}: choose from {known}")
    return [p for p in paths if not names or any(p.stem.startswith(name) for name in names)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="laptop")
    parser.add_argument("--limit", type=float, default=3600, help="seconds a notebook may take")
    parser.add_argument("names", nargs="*", help="notebooks, such as 01; all if none")
    chosen = parser.parse_args()
    paths = chapters(chosen.names, parser)
    try:
        rows = run_all(chosen.profile, paths, ROOT / "_build" / chosen.profile, chosen.limit)
    except KeyboardInterrupt:
        return 130
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
