"""Fill the generated tables of README.md and the book: `python -m book.readme_table`."""

import json
import re
from pathlib import Path

from srlib import results
from srlib.train import PROFILES
from srlib.train.recipe import AT_EIGHT, FROM_NOISE, MERGED, MERGED_AT_EIGHT

ROOT = Path(__file__).resolve().parents[1]
RECIPE = {
    "iterations": "iterations",
    "blocks": "residual blocks on the coarse grid",
    "width": "channels of the laptop generator's hidden layers",
    "batch": "coarse cubes an iteration",
    "window": "edge of a cube in HR voxels, without halo",
    "halo": "halo in LR voxels",
    "crop": "HR layers cut off before the critic",
    "slices": "fake slices a direction and cube",
    "match": "real slices drawn for each fake one, which gets the nearest in coarse phases (ours)",
    "critic_steps": "critic updates an iteration",
    "generator_every": "k: iterations to one generator update",
    "lr_generator": "learning rate of the generator (Adam)",
    "lr_critic": "learning rate of the critic (Adam)",
    "betas": "betas of Adam",
    "warmup": "iterations of warm-up",
    "decay": "learning rate falls in the second half",
    "penalty": "λ, gradient penalty",
    "weight": "c, voxel-wise loss",
    "gate": "b, threshold of the voxel-wise loss",
    "temperature": "of the softmax in the voxel-wise loss, where a coarse voxel is an average",
    "evenness": "weight of the evenness loss (ours)",
    "balance": "weight of the balance loss (ours)",
    "noise_channels": "noise channels",
    "norm": "batch normalisation in the generator (the paper's always has it)",
    "renorm": "from a fifth to half of the iterations its own statistics give way to running ones",
    "fine_noise": "noise for every fine voxel as well",
    "hard": "the critic sees the most likely phases, not their probabilities",
    "ema": "decay of the averaged weights (EMA)",
    "stop_below": "mean relative error that ends the training",
}


def title(notebook: Path) -> str:
    """The first heading of a notebook.

    Raises:
        ValueError: if it has none.
    """
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        found = re.search(r"^# +(.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and found:
            return found[1].strip()
    raise ValueError(f"{notebook.name} has no title: begin it with a line '# ...'")


def minutes(record: dict) -> str:
    """Minutes for a reader: ``values["minutes"]``, else the seconds of the run."""
    value = float(record["values"].get("minutes", record["seconds"] / 60))
    return "< 1" if value < 1 else f"{value:.0f}"


def results_table(notebooks: Path, folder: Path) -> str:
    """Markdown table of the chapters.

    Args:
        notebooks: Folder of the notebooks; names with a leading underscore are left out.
        folder: Folder of the result files of :func:`srlib.results.write`, one a notebook. The
            text ``values["headline"]`` is what the chapter comes to.
    """
    rows = ["| chapter | minutes | what came out | data |", "|---|---|---|---|"]
    for notebook in sorted(notebooks.glob("[!_]*.ipynb")):
        cells = ["-", "not run yet", "-"]
        path = folder / f"{notebook.stem}.json"
        if path.exists():
            record = results.read(path)
            headline = record["values"].get("headline", "-")
            cells = [minutes(record), headline, record["source"]]
        link = f"[{notebook.stem[:2]} {title(notebook)}](notebooks/{notebook.name})"
        rows.append(f"| {link} | {' | '.join(cells)} |")
    return "\n".join(rows)


def recipe_table() -> str:
    """Markdown table of the paper's and the laptop's training settings, and its changes."""

    def show(value) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int | float) and value == 0:
            return "-"
        if isinstance(value, int | float):
            return f"{value:,}" if isinstance(value, int) else f"{value:g}"
        return "all" if value is None else str(value)

    paper, laptop = PROFILES["full"], PROFILES["laptop"]
    changes = {"hidden phases": MERGED, "scale factor 8": AT_EIGHT}
    changes |= {"both": MERGED_AT_EIGHT, "from noise": FROM_NOISE}
    titles = ["setting", "field", "full profile (the paper's)", "laptop profile", *changes]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, meaning in RECIPE.items():
        cells = [meaning, f"`{name}`", show(getattr(paper, name)), show(getattr(laptop, name))]
        cells += [show(change[name]) if name in change else "" for change in changes.values()]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def study_table(folder: Path) -> str:
    """Markdown table of the one-factor study: mean and half the range over the seeds.

    Bold: every seed lies on the same side of every seed of the recipe.

    Args:
        folder: Folder of the files ``recipe-ARM-SEED.json`` of ``benchmarks.recipe_study``.
    """
    columns = ("fractions", "areas", "s2", "imprint", "anisotropy", "lost", "score")
    arms: dict[str, list[dict]] = {}
    for path in sorted(folder.glob("recipe-*.json")):
        values = results.read(path)["values"]
        name = path.stem.removeprefix("recipe-").rpartition("-")[0]
        arms.setdefault(name, []).append(values["averaged"])
        if not values["change"]:
            arms.setdefault("no-average", []).append(values["last"])
    if "recipe" not in arms:
        return "This study has not been run yet."
    rows = ["| change | " + " | ".join(columns) + " | seeds |", "|---" * (len(columns) + 2) + "|"]
    for name in sorted(arms, key=lambda name: (name != "recipe", name)):
        found, cells = arms[name], []
        for column in columns:
            seen = [run[column] for run in found]
            half = (max(seen) - min(seen)) / 2
            spread = f" ± {results.number(half, 1)}" if len(seen) > 1 else ""
            cell = results.number(sum(seen) / len(seen)) + spread
            recipe = [run[column] for run in arms["recipe"]]
            apart = max(seen) < min(recipe) or min(seen) > max(recipe)
            cells.append(f"**{cell}**" if apart else cell)
        label = "none: the recipe" if name == "recipe" else name
        rows.append(f"| {label} | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(rows)


def fill(text: str, name: str, table: str) -> str:
    """``text`` with ``table`` between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: if the two marks are not there exactly once.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"the text must hold {start} and, after it, {end}, once each")
    return f"{text[: text.index(start)]}{start}\n\n{table}\n\n{text[text.index(end) :]}"


def filled(root: Path = ROOT) -> dict[Path, str]:
    """Path and up-to-date text of every page with a generated table."""
    readme, book = root / "README.md", root / "book"
    errata, study = book / "errata.md", book / "recipe.md"
    runs = root / "results" / "laptop"
    chapters = results_table(root / "notebooks", runs)
    return {
        readme: fill(readme.read_text(encoding="utf-8"), "results", chapters),
        errata: fill(errata.read_text(encoding="utf-8"), "recipe", recipe_table()),
        study: fill(
            study.read_text(encoding="utf-8"), "study", study_table(root / "results" / "full")
        ),
    }


def main() -> None:
    for path, text in filled().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.name} is up to date")


if __name__ == "__main__":
    main()
