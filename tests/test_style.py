"""The style: imports point one way, files stay small, notebooks are clean and known everywhere."""

import ast
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from book import run

ROOT = run.ROOT
NOTEBOOKS = run.notebooks()
SOURCES = sorted((ROOT / "srlib").rglob("*.py"))
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
LAZY = {"SimpleITK", "algotom", "porespy", "pyamg", "taufactor", "skimage", "sklearn", "pandas"}


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


# Imports and sizes


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_are_absolute_and_light(path):
    tree = tree_of(path)
    everywhere = imported(ast.walk(tree))
    if path.parent.name == "models":
        outside = roots(everywhere) - set(sys.stdlib_module_names) - {"torch", "srlib"}
        assert outside <= ({"safetensors"} if path.stem == "weights" else set())
    assert not roots(imported(tree.body)) & LAZY, "import it inside the function that needs it"


def lint(root: Path) -> subprocess.CompletedProcess:
    """The contracts of pyproject.toml, checked on a checkout."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
    ]
    env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
    options = dict(cwd=root, env=env, capture_output=True, text=True)
    return subprocess.run([*command, "--no-cache"], **options)


def test_imports_point_one_way():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken") :] + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("physics/downsampling", "from srlib.data import Case", "only rooms below it"),
        ("metrics/morphology", "from srlib.models import load", "only rooms below it"),
        ("losses/adversarial", "from srlib.data.case import Case", "only rooms below it"),
        ("inference/tiling", "from srlib.training import fit_superres", "only rooms below it"),
        ("training/gan", "from srlib import viz", "only rooms below it"),
        ("training/gan", "from srlib import cli", "only rooms below it"),
        ("data/case", "from srlib.models import load", "know no network"),
        ("inference/depth", "from srlib.losses import berhu", "knows no loss"),
        ("results", "import matplotlib.pyplot", "Only figures"),
        ("results", "from benchmarks import study", "neither the book nor"),
        ("results", "from book import run", "do not know the book"),
    ],
)
def test_an_import_the_wrong_way_is_seen(tmp_path, module, line, contract):
    for name in ("srlib", "book", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "srlib" / f"{module}.py"
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert any(contract in x and "BROKEN" in x for x in done.stdout.splitlines()), done.stdout


# Types


def types(root: Path) -> subprocess.CompletedProcess:
    """mypy as pyproject.toml sets it, on a checkout; what it found before is under ``_build``."""
    return subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True)


def test_types_agree():
    done = types(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_type_is_seen(tmp_path):
    wrong = {
        "results": ("SIGNS: int = number(0.5)", "[assignment]"),
        "metrics/checks": ("def bare(x): return x", "[no-untyped-def]"),
        "losses/perceptual": ("Tensor().itme()", "[attr-defined]"),
        "datasets": ('load("case1", sauce="twin")', "[call-arg]"),
    }
    shutil.copytree(ROOT / "srlib", tmp_path / "srlib")
    if (ROOT / "_build" / "mypy").exists():
        shutil.copytree(ROOT / "_build" / "mypy", tmp_path / "_build" / "mypy")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, (line, _) in wrong.items():
        path = tmp_path / "srlib" / f"{module}.py"
        path.write_text(f"{path.read_text()}\n{line}\n")
    said = types(tmp_path).stdout.splitlines()
    for module, (_, error) in wrong.items():
        assert any(f"{module}.py" in line and error in line for line in said), said


# Light imports


def test_importing_srlib_is_light():
    check = "import srlib.training, srlib.inference.superres, sys; print(*sys.modules)"
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


def plain_python(source: str) -> str:
    """Source of a cell without the lines that are for IPython alone."""
    return "\n".join(x for x in source.splitlines() if not x.startswith(("%", "!")))


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
        if "solution" in cell.metadata.get("tags", []):
            assert cell.metadata.get("jupyter", {}).get("source_hidden"), (
                "folded in JupyterLab, too"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= 40
    assert statistics.median(lengths) <= 12


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_few_cells_of_code(path):
    assert len(code_cells(path)) <= 45, "merge what belongs together, or make two chapters"


def test_no_function_stands_in_three_notebooks():
    where = {}
    for path in NOTEBOOKS:
        trees = (ast.parse(plain_python(cell.source)) for cell in code_cells(path))
        for node in (node for tree in trees for node in tree.body):
            if isinstance(node, ast.FunctionDef):
                where.setdefault(node.name, set()).add(path.stem)
    often = {name: sorted(stems) for name, stems in where.items() if len(stems) > 2}
    assert not often, "the same function goes into srlib; others take the name of what they do"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_the_parameters_of_every_chapter(path):
    values = parameters(path)
    assert values["PROFILE"] == "laptop" and values["OUT_DIR"] == "../results"
    assert values.get("TRAIN", False) is False and isinstance(values["SEED"], int)
    loads = any("models.load" in cell["source"] for cell in code_cells(path))
    assert "TRAIN" in values or not loads, "what is loaded can be trained here, too"
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
    names = imported(ast.walk(ast.parse(plain_python(source))))
    assert not roots(names) & {"notebooks", "tests", "import_ipynb", "nbimporter", "runpy"}
    assert "%run" not in source
