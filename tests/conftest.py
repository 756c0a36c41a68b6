"""Fixtures of the whole suite: notebooks executed once, the book built once, one closing line."""

import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import measured
import pytest

from book import build, run
from srlib.data import find_file

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ROOT / "_build" / "smoke"
SMOKE_SECONDS, SMOKE_LIMIT = 30, 900  # what a notebook may take, and when it is stopped
ORDER = {"test_notebooks": -2, "test_book": -1}  # first, then the longest files
LONG = ["test_train", "test_studies", "test_memory", "test_supervised", "test_stream"]

os.environ.setdefault("MPLBACKEND", "agg")


def pytest_configure(config: pytest.Config) -> None:
    config.started = time.monotonic()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Two processes share the tests by files; one gets the notebooks, and the book made of them."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            stem = Path(nodeid.split("::")[0]).stem
            return "notebooks" if stem in ORDER else stem

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The notebooks, then the book, then unit tests; ``real``: what takes real files.

    A chapter does if its last run at the smoke profile asked for one that is here.
    """
    items.sort(key=lambda item: (ORDER.get(item.path.stem, 0), item.path.stem not in LONG))
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if params.get("source") == "real":
            item.add_marker("real")
        path = params.get("path")
        if path is None or "executed" not in item.fixturenames:
            continue
        asked = SMOKE / "logs" / f"{path.stem}.asked"
        names = asked.read_text().split() if asked.exists() else []
        if any(find_file(name) for name in names):
            item.add_marker("real")


@pytest.fixture(scope="session")
def executed(request: pytest.FixtureRequest) -> dict[str, run.Row]:
    """Every notebook that a collected test asks for, run once at the smoke profile."""
    asked = [item for item in request.session.items if "executed" in item.fixturenames]
    chosen = {item.callspec.params["path"] for item in asked if hasattr(item, "callspec")}
    if any("book" in item.fixturenames for item in asked):
        chosen = set(run.notebooks())
    paths = [path for path in run.notebooks() if path in chosen]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    shown = sys.__stderr__ if os.environ.get("PYTEST_XDIST_WORKER") else sys.__stdout__
    with capture.global_and_fixture_disabled(), redirect_stdout(shown):
        print(flush=True)
        rows = run.run_all("smoke", paths, SMOKE, SMOKE_LIMIT)
        for row in rows:
            if row.seconds > SMOKE_SECONDS:
                print(f"{row.stem} is slow: {row.seconds:.0f} s, not {SMOKE_SECONDS}", flush=True)
    yield {row.stem: row for row in rows}
    run.write_report("smoke", rows, ROOT / "_build" / "report.html")


@pytest.fixture(scope="session")
def book(executed: dict[str, run.Row]) -> Path:
    """Folder of the HTML book built from the notebooks just run."""
    failed = [row.stem for row in executed.values() if not row.ok]
    if failed:
        pytest.fail(f"the book cannot be built: {', '.join(failed)} did not run", pytrace=False)
    try:
        return build.build(SMOKE).parent
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


def pytest_sessionfinish() -> None:
    measured.finish()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with a line that says how many tests passed, failed and were skipped."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or config.option.collectonly or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if measured.running:
        print(measured.line())
    counts = {name: len(reporter.stats.get(name, [])) for name in reporter.stats}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    line = f"{counts.get('passed', 0)} passed, {failed} failed"
    skipped = counts.get("skipped", 0)
    print(line + (f", {skipped} skipped" if skipped else ""))
    whole = config.args == config.getini("testpaths") and not config.option.keyword
    if whole and config.option.markexpr == "not slow" and not failed:
        run.note_total(SMOKE, time.monotonic() - config.started)
