"""The house: dependencies agree, the tree is whole, and make is kind."""

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

from book import run

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
        assert [step["run"] for step in job["steps"] if "run" in step] == [f"make {name}"]


def test_ruff_passes():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "-q", "."], cwd=ROOT)
    assert done.returncode == 0


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
