"""The wheel works outside of the checkout; weights come from a folder that is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
from pathlib import Path
import numpy as np
import srlib
from srlib import models
from srlib.inference.superres import superres

assert not Path(srlib.__file__).is_relative_to({root!r}), srlib.__file__
lr = np.random.default_rng(0).integers(0, 3, (6, 6, 6), np.uint8)
print(superres(models.load("case3-twin-0"), lr, progress=False).shape)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the installed wheel and nothing else; what it needs is in this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files beside what it builds
    shutil.copytree(ROOT / "srlib", source / "srlib")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    options = dict(check=True, cwd=folder, capture_output=True, text=True)
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", ".", "./source"]
    subprocess.run([*pip, *build], **options)
    (wheel,) = folder.glob("srlib-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "-t", "site", str(wheel)], **options)
    return folder / "site"


def outside(site: Path, *command: str, **settings: str) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SRLIB", "PYTHON"))}
    env = {**kept, "PYTHONPATH": str(site), **settings}
    return subprocess.run(command, cwd=site.parent, env=env, capture_output=True, text=True)


def test_a_small_array_is_super_resolved_outside_of_the_checkout(site):
    use = [sys.executable, "-c", USE.format(root=str(ROOT))]
    done = outside(site, *use, SRLIB_WEIGHTS=str(ROOT / "weights"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(16, 16, 16)"
    done = outside(site, *use)
    assert "there are no weights 'case3-twin-0'" in done.stderr
    assert "name one in SRLIB_WEIGHTS" in done.stderr


def test_the_command_helps_outside_of_the_checkout(site):
    done = outside(site, sys.executable, str(site / "bin" / "srlib"), "--help")
    assert done.returncode == 0, done.stderr
    for command in ("train", "superres", "depth"):
        assert f"  {command} " in done.stdout
    assert len(done.stdout.splitlines()) < 24, "it fits a screen"
