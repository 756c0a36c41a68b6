"""Build the HTML book from executed notebooks: `python -m book.build --profile laptop`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import yaml

from book import run

ROOT = run.ROOT
STATIC = ROOT / "book" / "_static"
VENDOR = STATIC / "vendor"
PACKAGES = {
    "mathjax@3.2.2": {
        "es5/tex-chtml.js": "mathjax/tex-chtml.js",
        "es5/input/tex/extensions": "mathjax/input/tex/extensions",
        "es5/output/chtml/fonts": "mathjax/output/chtml/fonts",
        "es5/a11y": "mathjax/a11y",
        "es5/ui": "mathjax/ui",
    },
    "requirejs@2.3.8": {"require.js": "require.js"},
    "@jupyter-widgets/html-manager@1.0.15": {
        "dist/embed-amd.js": "embed-amd.js",
        "dist/1551f4f60c37af51121f.woff2": "widgets/1551f4f60c37af51121f.woff2",
        "dist/7a3337626410ca2f4071.woff2": "widgets/7a3337626410ca2f4071.woff2",
        "dist/d878b0a6a1144760244f.woff2": "widgets/d878b0a6a1144760244f.woff2",
    },
}
LAUNCH = {
    "notebook_interface": "jupyterlab",
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
    "thebe": False,
}
WIDGETS = Path("notebooks/@jupyter-widgets/html-manager/dist")  # where the widgets look for fonts
LIMIT, FULL_LIMIT = 3600, 86_400  # seconds after which a notebook is stopped


def unpack(archive: Path, wanted: dict[str, str], folder: Path) -> None:
    """Unpack the wanted files and folders of an npm archive into ``folder``."""
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
        for source, target in wanted.items():
            found = Path(scratch) / "package" / source
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, folder / target)


def fetch_vendor() -> None:
    """Fetch MathJax and the widgets' scripts with npm, once; warn if that cannot be done."""
    targets = [VENDOR / target for wanted in PACKAGES.values() for target in wanted.values()]
    if all(target.exists() for target in targets):
        return
    try:
        with tempfile.TemporaryDirectory() as scratch:
            ready = Path(scratch) / "vendor"
            ready.mkdir()
            for name, wanted in PACKAGES.items():
                command = ["npm", "pack", "--silent", name]
                done = subprocess.run(
                    command, cwd=scratch, check=True, capture_output=True, text=True, timeout=120
                )
                unpack(Path(scratch) / done.stdout.split()[-1], wanted, ready)
            shutil.rmtree(VENDOR, ignore_errors=True)
            shutil.move(ready, VENDOR)
    except (OSError, subprocess.SubprocessError, tarfile.TarError):
        print("warning: npm could not fetch MathJax: the pages will load it from the network")


def config() -> dict:
    """The settings of ``_config.yml``, buttons if it has an address, scripts that are here."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    if settings["repository"]["url"]:
        settings["html"] |= {"use_repository_button": True, "use_issues_button": True}
        settings["launch_buttons"] = LAUNCH
    else:
        del settings["repository"]
    sphinx = settings["sphinx"]["config"]
    if (VENDOR / "mathjax" / "tex-chtml.js").exists():
        sphinx["mathjax_path"] = "vendor/mathjax/tex-chtml.js"
        sphinx["mathjax_options"] = {"defer": "defer"}
    if (VENDOR / "embed-amd.js").exists():
        sphinx["nb_ipywidgets_js"] = {"vendor/require.js": {}, "vendor/embed-amd.js": {}}
    return settings


def publish(executed: Path, target: Path) -> None:
    """Copy an executed notebook for the book, without the details of the run."""
    notebook = json.loads(executed.read_text())
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["metadata"]["tags"].append("hide-input")
    target.write_text(json.dumps(notebook))


def stage(executed: Path, folder: Path) -> None:
    """Lay out prose, settings and executed notebooks under ``folder`` as the book's source."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "_toc.yml", folder)
    (folder / "_config.yml").write_text(
        yaml.safe_dump(config(), allow_unicode=True, sort_keys=False)
    )
    (folder / "notebooks").mkdir()
    for source in run.NOTEBOOKS.glob(
        "[!_]*.ipynb"
    ):  # one that has not run is shown without outputs
        made = executed / source.name
        publish(made if made.exists() else source, folder / "notebooks" / source.name)


def build(out_dir: Path) -> Path:
    """Build the book from ``out_dir/notebooks``; warnings are errors.

    Returns:
        Path of the first page.

    Raises:
        RuntimeError: if Sphinx warns or fails; the message names the log.
    """
    fetch_vendor()
    source, pages, log = out_dir / "stage", out_dir / "html", out_dir / "logs" / "book.log"
    stage(out_dir / "notebooks", source)
    tool = Path(sys.executable).with_name("jupyter-book")
    command = [str(tool), "build", str(source)]
    command += ["-W", "--keep-going", "--all", "--path-output", str(source)]
    streams = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, env=os.environ | {"NO_COLOR": "1"}, **streams)
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        found = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-5:]
        raise RuntimeError("\n".join(["The book was not built:", *found, f"The whole log: {log}"]))
    shutil.rmtree(pages, ignore_errors=True)
    shutil.move(source / "_build" / "html", pages)
    if (VENDOR / "widgets").exists():
        shutil.copytree(VENDOR / "widgets", pages / WIDGETS)
    return pages / "index.html"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=run.PROFILES, default="laptop")
    parser.add_argument("names", nargs="*", help="chapters to run, such as 00 12; all if none")
    chosen = parser.parse_args()
    out_dir = ROOT / "_build" / chosen.profile
    paths = [path for path in run.chapters(chosen.names, parser) if not path.stem.startswith("_")]
    begin = time.monotonic()
    limit = FULL_LIMIT if chosen.profile == "full" else LIMIT
    try:
        rows = run.run_all(chosen.profile, paths, out_dir, limit, keep=True)
    except KeyboardInterrupt:
        return 130
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    if failed:
        print("The book was not built: mend the notebooks above first.", file=sys.stderr)
        return 1
    try:
        page = build(out_dir)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if not chosen.names and all(row.seconds for row in rows):
        run.note_total(out_dir, time.monotonic() - begin)
    print(f"The book is ready: {page}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
