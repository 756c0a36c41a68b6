"""The house rules: dependencies agree, imports point one way, notebooks are clean, make is kind."""

import ast
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book import run

ROOT = run.ROOT
NOTEBOOKS = run.notebooks()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "srlib").rglob("*.py"))
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
ARROWS = {
    "degrade": set(),
    "twins": set(),
    "results": set(),
    "checkpoint": set(),
    "losses": {"degrade"},
    "data": {"degrade", "twins"},
    "metrics": {"degrade"},
    "models": {"checkpoint"},
    "infer": {"data", "models"},
    "train": {"checkpoint", "data", "degrade", "infer", "losses", "metrics", "models"},
    "viz": {"results"},
}
LAZY = {"porespy", "taufactor", "skimage", "pandas"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for text in chain(PROJECT["dependencies"], *extras)]


def tracked() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is not a git checkout, so there is no list of its files")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(nodes) -> set[str]:
    """Full names that the import statements among ``nodes`` bring in."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


# Dependencies


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_each_dependency_is_pinned_inside_its_range(requirement):
    name = canonicalize_name(requirement.name)
    assert name in pins(), f"constraints.txt has no pin for {name}"
    assert requirement.specifier.contains(pins()[name])


def test_pins_are_plain_versions():
    for name, version in pins().items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"
        assert not re.match(r"nvidia|cuda|triton", name), f"{name} is for CUDA machines only"


def test_environment_yml_only_points_to_the_other_two():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert listed == ["python=3.11", "pip", {"pip": ["-c constraints.txt", "-e .[book,test]"]}]
    assert PROJECT["requires-python"] == ">=3.11"
    assert {"book", "test"} <= set(PROJECT["optional-dependencies"])


def test_version_is_the_same_everywhere():
    import srlib

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert srlib.__version__ == PROJECT["version"] == cited
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


# Tree and text


def test_top_level_tree():
    for name in "book notebooks srlib tests benchmarks".split():
        assert (ROOT / name).is_dir(), name
    files = "data/download.py environment.yml _config.yml _toc.yml README.md LICENSE .ci/run"
    for name in files.split():
        assert (ROOT / name).is_file(), name


def test_no_file_names_a_machine_or_a_registry():
    machine = re.compile(r"(?<![\w.~-])/(work|root|home|Users)/[\w.]")
    registry = re.compile(r"pypi\.org|pythonhosted|npmjs|index-url|find-links")
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if path == Path(__file__).resolve():
            continue
        assert not machine.search(text), f"{path.name}: {machine.search(text)[0]}"
        assert not registry.search(text), f"{path.name}: {registry.search(text)[0]}"
        assert ".ci" in path.parts or "../shared" not in text, path.name


def test_both_workflows_run_the_two_commands():
    for name in ("book", "test"):
        flow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
        (job,) = flow["jobs"].values()
        assert [step["run"] for step in job["steps"] if "run" in step] == [f"make {name}"]


def test_ruff_passes():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "-q", "."], cwd=ROOT)
    assert done.returncode == 0


# Imports and sizes


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    group = path.relative_to(ROOT / "srlib").parts[0].removesuffix(".py")
    tree = tree_of(path)
    everywhere = imported(ast.walk(tree))
    assert not roots(everywhere) & {"notebooks", "tests", "book", "benchmarks"}
    ours = {name.split(".")[1] for name in everywhere if name.startswith("srlib.")}
    assert ours & set(ARROWS) <= ARROWS.get(group, set()) | {group}
    if group != "viz":
        assert "matplotlib" not in roots(everywhere)
    if group == "models":
        outside = roots(everywhere) - set(sys.stdlib_module_names) - {"torch", "srlib"}
        assert outside <= ({"safetensors"} if path.stem == "__init__" else set())
    assert not roots(imported(tree.body)) & LAZY, "import it inside the function that needs it"


def test_every_module_has_an_arrow():
    groups = {path.relative_to(ROOT / "srlib").parts[0].removesuffix(".py") for path in SOURCES}
    assert groups - {"__init__"} == set(ARROWS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small(path):
    assert len(path.read_text().splitlines()) <= 320


def test_importing_srlib_is_light():
    check = "import srlib, srlib.train, srlib.infer, srlib.metrics, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (LAZY | {"matplotlib", "ipywidgets"})


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda p: p.stem)
def test_shipped_weights_are_small_and_tell_where_they_come_from(path):
    assert path.stat().st_size <= 2 * 2**20
    card = json.loads(path.with_suffix(".json").read_text())
    told = {"recipe", "case", "source", "data_sha256", "voxel_nm", "seed", "seconds", "device"}
    assert told <= set(card)


# Notebooks


def code_cells(path: Path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def parameters(path: Path) -> dict[str, object]:
    """Names and plain values that the notebook's one parameters cell sets."""
    cells = [c for c in code_cells(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1, f"{path.stem} has {len(cells)} cells tagged parameters, not one"
    values = {}
    for node in ast.parse(cells[0].source).body:
        assert isinstance(node, ast.Assign), "the parameters cell holds assignments only"
        values[node.targets[0].id] = ast.literal_eval(node.value)
    return values


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stripped(path):
    raw = nbformat.read(path, as_version=4)
    assert raw.metadata.kernelspec.name == "python3"
    assert "widgets" not in raw.metadata
    assert all(cell.get("id") for cell in raw.cells)
    for cell in code_cells(path):
        assert not cell.outputs and cell.execution_count is None, "run nbstripout on it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= 40
    assert statistics.median(lengths) <= 12


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_the_parameters_of_every_chapter(path):
    values = parameters(path)
    assert values["PROFILE"] == "laptop" and values["OUT_DIR"] == "../results"
    assert values["TRAIN"] is False and isinstance(values["SEED"], int)
    assert values["SOURCE"] in ("auto", "twin")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_profiles_name_known_parameters(path):
    table = yaml.safe_load((ROOT / "notebooks" / "profiles.yml").read_text())
    assert set(table[path.stem]) == set(run.PROFILES)
    values = parameters(path)
    for chosen in table[path.stem].values():
        assert set(chosen) <= set(values) - {"PROFILE", "OUT_DIR"}
        for key, value in chosen.items():
            assert type(value) is type(values[key]), f"{key} changes its type"


def test_profiles_and_contents_list_exactly_the_notebooks():
    stems = [path.stem for path in NOTEBOOKS]
    table = yaml.safe_load((ROOT / "notebooks" / "profiles.yml").read_text())
    assert set(table) == set(stems)
    contents = (ROOT / "_toc.yml").read_text()
    files = re.findall(r"(?:file|root): (\S+)", contents)
    listed = [Path(name).name for name in files if name.startswith("notebooks/")]
    assert listed == [stem for stem in stems if not stem.startswith("_")]
    pages = (path for path in (ROOT / "book").rglob("*.md"))
    prose = {str(page.relative_to(ROOT).with_suffix("")) for page in pages}
    assert prose == {name for name in files if name.startswith("book/")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_imports_no_notebook(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
    names = imported(ast.walk(ast.parse("\n".join(lines))))
    assert not roots(names) & {"notebooks", "tests", "import_ipynb", "nbimporter", "runpy"}
    assert not re.search(r"%run|\.ipynb", source)


# Make


def fake_checkout(folder: Path) -> dict[str, str]:
    """A folder with our Makefile and an interpreter that only notes how it was called."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    fake = folder / "fakepython"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {folder}/calls\n'
        f'[ "$2" = venv ] && mkdir -p .venv/bin && cp {fake} .venv/bin/python\n'
        "exit 0\n"
    )
    fake.chmod(0o755)
    return os.environ | {"PYTHON": str(fake)}


def make(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
    command = ["make", "-C", str(folder), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_second_make_installs_nothing_until_the_pins_change(tmp_path):
    environment = fake_checkout(tmp_path)

    def installs() -> int:
        assert make(tmp_path, environment, "test").returncode == 0
        return (tmp_path / "calls").read_text().count("pip install")

    assert [installs(), installs()] == [1, 1]
    later = (tmp_path / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(tmp_path / "constraints.txt", (later, later))
    assert installs() == 2
    assert (tmp_path / "calls").read_text().count("-m pytest") == 3


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_without_python_says_so_in_one_sentence(tmp_path):
    done = make(tmp_path, fake_checkout(tmp_path), "book", "PYTHON=")
    assert done.returncode
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1 and said[0].startswith("Python 3.11 or newer is needed")
