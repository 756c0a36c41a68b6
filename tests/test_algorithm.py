"""The training loop of chapter 12 and that of the library are one: same seed, same weights."""

import json
from pathlib import Path

import pytest
import torch

from srlib import datasets
from srlib.training import SuperResTrainer

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "12_case3_fuel_cell.ipynb"
CELLS = ("algorithm-networks", "algorithm-critic", "algorithm")


@pytest.fixture(scope="module")
def case():
    return datasets.load("case3", "twin", seed=1, edge=64)


def cell(name: str) -> str:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    (found,) = ("".join(c["source"]) for c in cells if c["id"] == name)
    return found


def chapter(case, steps: int, change: tuple[str, str] = ("", "")) -> dict:
    """The names of the chapter's cells after some iterations; ``change`` replaces text in them."""
    names = {"case": case, "n": 3, "scale": 4, "SEED": 5, "SLICES": 2}
    source = "\n".join([cell("imports"), *map(cell, CELLS)])
    assert change[0] in source
    exec(source.replace(*change), names)
    names["errors"] = [names["iteration"](i) for i in range(steps)]
    return names


def same(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_cells_of_chapter_12_are_the_trainer(case):
    shown = chapter(case, 10)
    trainer = SuperResTrainer(case, shown["recipe"], 5, torch.device("cpu"))
    logs = [trainer.step() for _ in range(10)]
    assert shown["errors"] == [log["voxelwise"] for log in logs]
    assert same(shown["G"], trainer.generator) and same(shown["D"], trainer.critics[0])


@pytest.mark.parametrize(
    "change",
    [
        ("recipe.gradient_penalty_weight *", "11 *"),
        ("l_vw >= b", "l_vw >= 1"),
        ("-D(slices())", "-2 * D(slices())"),
        ("recipe.interface_isotropy_weight * even", "0 * even"),
        ("range(recipe.critic_steps)", "range(1)"),
    ],
)
def test_another_loop_is_seen(case, change):
    shown = chapter(case, 2, change)
    trainer = SuperResTrainer(case, shown["recipe"], 5, torch.device("cpu"))
    for _ in range(2):
        trainer.step()
    assert not (same(shown["G"], trainer.generator) and same(shown["D"], trainer.critics[0]))
