"""Fill the generated tables of README.md, the book and the notebooks: `python -m book.tables`."""

import json
import re
from pathlib import Path

import yaml

from book import run
from srlib import results
from srlib.training import PROFILES
from srlib.training.recipe import AT_EIGHT, FROM_NOISE, MERGED, MERGED_AT_EIGHT

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
    "real_candidates": "real slices drawn for each fake one, which gets the nearest (ours)",
    "critic_steps": "critic updates an iteration",
    "generator_every": "k: iterations to one generator update",
    "lr_generator": "learning rate of the generator (Adam)",
    "lr_critic": "learning rate of the critic (Adam)",
    "betas": "betas of Adam",
    "warmup": "iterations of warm-up",
    "decay": "learning rate falls in the second half",
    "gradient_penalty_weight": "λ, gradient penalty",
    "consistency_weight": "c, voxel-wise loss",
    "consistency_threshold": "b, threshold of the voxel-wise loss",
    "inverse_temperature": "of the softmax in the voxel-wise loss, where a coarse voxel is a mean",
    "interface_isotropy_weight": "weight of the interface isotropy loss (ours)",
    "volume_fraction_weight": "weight of the volume fraction loss (ours)",
    "noise_channels": "noise channels",
    "norm": "batch normalisation in the generator (the paper's always has it)",
    "renorm": "from a fifth to half of the iterations its own statistics give way to running ones",
    "fine_noise": "noise for every fine voxel as well",
    "straight_through": "the critic sees the most likely phases, not their probabilities",
    "ema_decay": "decay of the averaged weights (EMA)",
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


SYSTEMS = {  # chapters of a system, and the one whose headline stands for it
    "what is measured, and how a picture becomes a volume": ("0", "01_metrics"),
    "SuperRes: a coarse volume and a fine image": ("1", "12_case3_fuel_cell"),
    "SuperRes, one change at a time": (("20", "21", "22", "23", "24", "25"), "20_scale"),
    "SuperRes, its claims against our numbers": ("26", "26_verdicts"),
    "InDI: scans restored in small steps": ("3", "32_indi_compare"),
    "rock: eight times finer, four minerals": ("4", "41_rock_x8"),
    "FIB-SEM: a stack learns its depth": ("5", "51_fibsem_tables"),
    "files of your own, from inspection to a report": ("6", "61_your_data"),
}


def seconds_of(root: Path, profile: str) -> dict:
    """What a profile took when its times were stored: ``chapters`` and ``total``."""
    path = root / "book" / "seconds.json"
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"chapters": {}, "total": None} | table.get(profile, {})


def minutes(seconds: float) -> str:
    """Minutes for a reader."""
    return "< 1" if seconds < 55 else f"{seconds / 60:.0f}"


def chapters(root: Path) -> list[tuple[Path, dict | None]]:
    """Every chapter, with its stored result if there is one."""
    found = []
    for notebook in sorted((root / "notebooks").glob("[!_]*.ipynb")):
        path = root / "results" / "laptop" / f"{notebook.stem}.json"
        found.append((notebook, results.read(path) if path.exists() else None))
    return found


WORDS = {"real": "real", "twin": "synthetic"}


def chapters_table(root: Path) -> str:
    """Markdown table of the chapters for the first page of the book.

    The text ``values["headline"]`` of a stored result is what the chapter comes to.
    """
    took = seconds_of(root, "laptop")["chapters"]
    rows = ["| chapter | seconds | what came out | data |", "|---|---|---|---|"]
    for notebook, record in chapters(root):
        cells = ["-", "not run yet", "-"]
        if record:
            spent = took.get(notebook.stem, record)["seconds"]
            headline = record["values"].get("headline", "-")
            cells = [f"{spent:.0f}", headline, WORDS[record["source"]]]
        link = f"[{notebook.stem[:2]} {title(notebook)}](../notebooks/{notebook.name})"
        rows.append(f"| {link} | {' | '.join(cells)} |")
    return "\n".join(rows)


def came_out(path: Path) -> str:
    """What a stored result comes to, and of which data."""
    if not path.exists():
        return "not run yet"
    record = results.read(path)
    return f"{record['values']['headline']} ({WORDS[record['source']]})"


def systems_table(root: Path) -> str:
    """Markdown table of the systems for README.md, a row each."""
    took = seconds_of(root, "laptop")["chapters"]
    every = chapters(root)
    titles = ["part", "chapters", "minutes", "one thing that came out", "the same in a longer run"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, (digits, lead) in SYSTEMS.items():
        mine = [(n, r) for n, r in every if n.stem.startswith(digits)]
        ends = dict.fromkeys([mine[0][0], mine[-1][0]])
        links = " to ".join(f"[{n.stem[:2]}](notebooks/{n.name})" for n in ends)
        spent = sum(took.get(n.stem, {}).get("seconds", 0) for n, _ in mine) / run.WORKERS
        said, longer = (came_out(root / "results" / p / f"{lead}.json") for p in ("laptop", "full"))
        cells = [f"chapter {lead[:2]}: {said}", "the same" if longer == said else longer]
        rows.append(f"| {' | '.join([name, links, minutes(spent), *cells])} |")
    return "\n".join(rows)


def times(root: Path) -> str:
    """What the two commands took, for README.md and the first page."""
    said = []
    for profile, command in (("laptop", "make book"), ("smoke", "make test")):
        total = seconds_of(root, profile)["total"]
        if total:
            said.append(
                f"`{command}` took {total['seconds'] / 60:.0f} minutes on {total['cores']} cores "
                f"({total['processor']}, {WORDS_OF_NUMBERS[total['numbers']]})"
            )
    return f"After the installation {' and '.join(said)}." if said else "Not measured yet."


WORDS_OF_NUMBERS = {"float32": "32-bit numbers", "bfloat16": "bf16"}


def cost_table(text: str, root: Path, stem: str) -> str:
    """The cost table of a chapter, with the minutes and memory that were measured."""
    for profile in run.PROFILES:
        row = seconds_of(root, profile)["chapters"].get(stem)
        cells = f"{minutes(row['seconds'])} | {row['MB'] / 1000:.1f} GB" if row else "- | -"
        text = re.sub(
            rf"^\| {profile} \|[^|\n]*\|[^|\n]*\|", f"| {profile} | {cells} |", text, flags=re.M
        )
    return text


def colab_cell(address: str) -> dict:
    """The cell that installs the book where a notebook is opened in Colab."""
    source = f"""# Only in Colab: fetch the book and install it.
import sys

if "google.colab" in sys.modules:
    %cd /content
    !git clone -q --depth 1 {address} book
    %cd book/notebooks
    !pip install -q -e ..
"""
    about = {"cell_type": "code", "id": "colab", "execution_count": None, "outputs": []}
    return about | {"metadata": {"tags": ["remove-cell"]}, "source": source.splitlines(True)}


def up_to_date(notebook: Path, root: Path) -> str:
    """A notebook's file with its cost table, and the cell for Colab if the book has an address."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    address = yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"]
    cells = [cell for cell in content["cells"] if cell.get("id") != "colab"]
    content["cells"] = [colab_cell(address), *cells] if address else cells
    for cell in content["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and text.startswith("| profile | minutes | memory |"):
            cell["source"] = cost_table(text, root, notebook.stem).splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


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


MATERIALS = {
    "Case 1, scan": ("case1", "scan"),
    "Case 1, image": ("case1", "image"),
    "Case 2, scan": ("case2", "scan"),
    "Case 3, scan": ("case3", "scan"),
    "Case 3, image": ("case3", "image"),
    "Case 4, scan": ("case4", "scan"),
    "Case 4, image": ("case4", "image"),
}


def materials_table(folder: Path) -> str:
    """Markdown table of ``benchmarks.material_study``: real and synthetic side by side."""
    values = results.read(folder / "materials.json")["values"]

    def cell(row: dict) -> str:
        if "Euler number" in row:
            return f"{row['fraction']:.3f}; {row['Euler number']:.0f}"
        along = ", ".join(f"{value:.3f}" for value in row["transport"])
        return f"{row['fraction']:.3f}; {row['in the largest body']:.3f}; {along}"

    rows = ["| | phase | real | synthetic |", "|---|---|---|---|"]
    for name, (case, part) in MATERIALS.items():
        for phase in values[case]["real"][part]:
            cells = [cell(values[case][source][part][phase]) for source in ("real", "twin")]
            rows.append(f"| {name} | {phase} | {' | '.join(cells)} |")
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
    """Path and up-to-date text of every page and notebook with a generated table."""
    readme, book = root / "README.md", root / "book"
    intro, errata, study = book / "intro.md", book / "errata.md", book / "recipe.md"
    data = book / "data.md"
    fills = {
        readme: {"systems": systems_table(root), "times": times(root)},
        intro: {"chapters": chapters_table(root), "times": times(root)},
        data: {"materials": materials_table(root / "results" / "full")},
        errata: {"recipe": recipe_table()},
        study: {"study": study_table(root / "results" / "full")},
    }
    pages = {path: path.read_text(encoding="utf-8") for path in fills}
    for path, tables in fills.items():
        for name, table in tables.items():
            pages[path] = fill(pages[path], name, table)
    notebooks = sorted((root / "notebooks").glob("[!_]*.ipynb"))
    return pages | {path: up_to_date(path, root) for path in notebooks}


def main() -> None:
    for path, text in filled().items():
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(f"{path.name} is up to date again")


if __name__ == "__main__":
    main()
