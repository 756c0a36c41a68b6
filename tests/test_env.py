"""The house: dependencies agree, the tree is whole, and make is kind."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book import install, run

ROOT = run.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


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
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
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


OUTSIDE = re.compile(r"(?<![\w/.])\.\./([\w-]{2,})")  # beside the repository, seen from it


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
        inside = path.parts[-2:] == ("tests", "test_download.py")  # its hostile archives leave
        inside = inside or ".ci" in path.parts
        left = {name for name in OUTSIDE.findall(text) if not (ROOT / name).exists()}
        assert inside or not left, f"{path.name}: ../{left.pop()}"


def test_both_workflows_run_the_two_commands():
    for name in ("book", "test"):
        flow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
        (job,) = flow["jobs"].values()
        assert f"make {name}" in [step.get("run") for step in job["steps"]]
        assert "SRLIB_DATA" not in str(flow), "they run bare"


def test_ruff_passes():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "-q", "."], cwd=ROOT)
    assert done.returncode == 0


# Installing


def fake_checkout(folder: Path, said: str = "", fails: bool = False, torch: bool = True) -> dict:
    """A checkout whose environment is there and only notes how it was called."""
    (folder / "book").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "book/install.py"):
        shutil.copy(ROOT / name, folder / name)
    fake = folder / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    report = json.dumps(
        {"install": [{"metadata": {"requires_dist": ["nvidia-cudnn==9", "sympy"]}}]}
    )
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {folder}/calls\n'
        f'[ "$2" = "import torch" ] && exit {int(not torch)}\n'
        f"case \"$@\" in *--report*) echo '{report}'; exit 0;; esac\n"
        f'case "$@" in *"pip install"*) printf \'{said}\' >&2; exit {int(fails)};; esac\n'
        "exit 0\n"
    )
    fake.chmod(0o755)
    return os.environ | {"PYTHON": sys.executable}


def make(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
    command = ["make", "-C", str(folder), *words]
    streams = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, env=environment, **streams)


def sentences(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
def test_second_make_installs_nothing_until_the_pins_change(tmp_path):
    environment = fake_checkout(tmp_path)

    def installs() -> int:
        assert make(tmp_path, environment, "test").returncode == 0
        return (tmp_path / "calls").read_text().count("pip install -q -c")

    assert [installs(), installs()] == [1, 1]
    later = (tmp_path / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(tmp_path / "constraints.txt", (later, later))
    assert installs() == 2
    assert (tmp_path / "calls").read_text().count("-m pytest") == 3


@needs_make
def test_make_hands_on_the_chapters_and_opens_the_first_one(tmp_path):
    environment = fake_checkout(tmp_path)
    assert make(tmp_path, environment, "book", "CHAPTERS=00 12", "PROFILE=full").returncode == 0
    assert make(tmp_path, environment, "lab").returncode == 0
    calls = (tmp_path / "calls").read_text()
    assert "-m book.build --profile full 00 12\n" in calls
    assert "-m jupyterlab notebooks/00_tour.ipynb" in calls


@needs_make
def test_make_without_python_says_so_in_one_sentence(tmp_path):
    done = make(tmp_path, fake_checkout(tmp_path), "book", "PYTHON=")
    assert done.returncode
    (said,) = sentences(done)
    assert said.startswith(install.RANGE)


def test_the_range_of_python_is_the_same_everywhere():
    (oldest, newest), words = (install.OLDEST, install.NEWEST), install.RANGE
    below = f"{newest[0]}.{newest[1] + 1}"
    assert PROJECT["requires-python"] == f">={oldest[0]}.{oldest[1]},<{below}"
    for minor in range(oldest[1], newest[1] + 1):
        assert f"3.{minor}" in words and not install.refusal((3, minor, 0))
    for version in ((3, 10, 9), (3, 14, 0), (2, 7, 18), (4, 0, 0)):
        (said,) = install.refusal(version).splitlines()
        assert said.startswith(words) and f"this is {version[0]}.{version[1]}" in said
    for page in ("README.md", "book/intro.md", "CONTRIBUTING.md"):
        assert "Python 3.11 to 3.13" in (ROOT / page).read_text(), page
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert flow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


@needs_make
def test_a_failed_installation_ends_with_the_words_of_pip(tmp_path):
    said = "note: wait\\nERROR: No matching distribution found for edt==3.0.0\\n\\n[notice] a\\n"
    done = make(tmp_path, fake_checkout(tmp_path, said, fails=True), "book")
    assert done.returncode
    (words,) = sentences(done)
    assert words.endswith("pip says: ERROR: No matching distribution found for edt==3.0.0")
    assert not (tmp_path / ".venv" / ".installed").exists()


@needs_make
@pytest.mark.skipif(sys.platform != "linux" or install.has_nvidia(), reason="not such a machine")
@pytest.mark.parametrize("torch", [False, True])
def test_gigabytes_for_a_card_that_is_not_there_are_announced(tmp_path, torch):
    done = make(tmp_path, fake_checkout(tmp_path, torch=torch), "test")
    assert done.returncode == 0
    assert ("no NVIDIA card" in done.stdout) is not torch
    calls = (tmp_path / "calls").read_text()
    assert torch or calls.index("--report") < calls.index("pip install -q -c")
