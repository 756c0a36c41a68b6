"""The examples in the docstrings run, and give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import srlib

LIBRARY = Path(srlib.__file__).parent
SOURCES = [path for path in sorted(LIBRARY.rglob("*.py")) if ">>>" in path.read_text()]
ROOMS = "data datasets inference losses metrics models physics results synthetic training viz"


def examples_of(path: Path) -> list[doctest.DocTest]:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    tests = doctest.DocTestFinder().find(importlib.import_module(name))
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(LIBRARY)))
def test_examples_give_what_they_say(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in examples_of(path):
        test.globs = {}  # a reader has only what the example imports
        runner.run(test, out=said.append)
    assert runner.tries and not runner.failures, "".join(said)


def test_every_room_has_examples():
    rooms = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in SOURCES}
    assert rooms >= set(ROOMS.split())
    assert sum(len(examples_of(path)) for path in SOURCES) >= 25


def test_an_example_that_is_wrong_is_seen():
    parser, said = doctest.DocTestParser(), []
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=said.append).failed == 1
    assert "Expected:\n    3\nGot:\n    2" in "".join(said)
