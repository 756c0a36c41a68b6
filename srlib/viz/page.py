"""What goes into a page: a figure with its alternative text and caption, and a table."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from srlib.results import DATA, Run, number, plus_minus, read


class Html:
    """Something that a page shows as HTML and a terminal as text."""

    def __init__(self, html: str, text: str):
        self.html, self.text = html, text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def show(
    figure: Figure,
    alt: str,
    caption: str | None = None,
    name: str | None = None,
    file: str | Path | None = None,
) -> None:
    """Put a figure into the page with an alternative text and a caption, then close it.

    A figure that matplotlib shows by itself reaches the built book without alternative text, so
    notebooks show every figure through this function.

    Args:
        figure: The figure.
        alt: One or two sentences for a reader who cannot see it: what is drawn, what to notice.
        caption: Text under the figure; end it with :meth:`srlib.results.Run.provenance`.
        name: Short name, anchor of the figure in the page (``#fig-name``); by default that of the
            file.
        file: Where to save it as well, ``results/fig6.png``.

    Raises:
        ValueError: if ``alt`` is empty, ``name`` is not a plain name, or the file cannot be saved.
    """
    if not alt or not alt.strip():
        raise ValueError("Give alt, one sentence that says what the figure shows.")
    if name is None and file is not None:
        name = Path(file).stem
    if name is not None and not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name={name!r} should hold letters, digits, '-' and '_' only.")
    png, width = _png(figure)
    plt.close(figure)
    if file is not None:
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_bytes(png)
        except OSError as error:
            raise ValueError(f"Cannot save a figure as {file}: {error.strerror}.") from error
    from IPython.display import display

    display(Html(_figure_html(png, alt.strip(), caption, name, width), alt.strip()))


def _png(figure: Figure) -> tuple[bytes, int]:
    """The figure in 256 colours of its own (a third of the bytes), and its width on the page."""
    picture = _drawn(figure).quantize(256, dither=Image.Dither.NONE)
    memory = io.BytesIO()
    picture.save(memory, format="PNG")
    return memory.getvalue(), picture.width // 2


def _drawn(figure: Figure, dpi: int = 200, rim: int = 10) -> Image.Image:
    """The figure, cut to what is on it; ``savefig`` would draw every picture twice for that."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    left, low, right, high = dpi * figure.get_tightbbox(canvas.get_renderer()).extents
    if min(left, low, page.width - right, page.height - high) < -1:  # something sticks out
        memory = io.BytesIO()
        figure.savefig(memory, format="png", dpi=dpi, bbox_inches="tight", pad_inches=rim / dpi)
        return Image.open(memory).convert("RGB")
    corner = round(left) - rim, round(page.height - high) - rim
    size = round(right - left) + 2 * rim, round(high - low) + 2 * rim
    whole = Image.new("RGB", size, "white")
    whole.paste(page, (-corner[0], -corner[1]))
    return whole


def _figure_html(png: bytes, alt: str, caption: str | None, name: str | None, width: int) -> str:
    anchor = f' id="fig-{name}"' if name else ""
    below = f'<figcaption class="srlib-caption">{escape(caption)}</figcaption>' if caption else ""
    data = base64.b64encode(png).decode()
    return (
        f'<figure class="srlib-figure"{anchor} style="margin:1em 0">'
        f'<img alt="{escape(alt)}" style="width:{width}px;max-width:100%;height:auto" '
        f'src="data:image/png;base64,{data}">{below}</figure>'
    )


def beside(
    values: Mapping[str, Any],
    keys: Mapping[str, str],
    run: Run,
    folder: str | Path = "../results/full",
) -> Html:
    """A table of this run's numbers, and below them those of the stored longer run.

    Args:
        values: What this run writes.
        keys: Heading of each column -> where its number is in ``values``: ``"scores/ours/area"``.
            What a run does not have stays empty.
        run: This run; the stored one is ``folder/<run.notebook>.json``.
        folder: Where stored runs are.

    Raises:
        ValueError: if ``values`` has none of the keys, or the stored file is damaged.
    """

    def find(tree: Any, path: str) -> Any:
        for key in path.split("/"):
            tree = {str(k): v for k, v in tree.items()} if isinstance(tree, Mapping) else {}
            tree = tree.get(key)
        return tree

    rows = {f"this page: {DATA[run.source].lower()}, profile {run.profile}": values}
    path = Path(folder) / f"{run.notebook}.json"
    if path.exists():
        record = read(path)
        day = f"stored run of {record['date'][:10]}"
        stored = f"{DATA[record['source']].lower()}, the {record['profile']} profile of that day"
        spent = f"{record['seconds']:.0f} s on {record['device']}"
        rows[f"{day}: {stored}, {spent}"] = record["values"]
    cells = {row: {k: find(tree, at) for k, at in keys.items()} for row, tree in rows.items()}
    if all(cell is None for cell in next(iter(cells.values())).values()):
        raise ValueError(f"this run has none of {', '.join(keys.values())}: check their names.")
    note = "; no other run is stored"
    if path.exists():
        note = "" if record["source"] == run.source else "; another material, so other numbers"
    return table(cells, caption=f"This page beside the stored run{note}")


def table(
    rows: Mapping[str, Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    best: Mapping[str, str | float] | None = None,
    caption: str | None = None,
    corner: str = "",
    turned: bool = False,
) -> Html:
    """A table of numbers with the best of each column in bold.

    Args:
        rows: Row name -> column name -> cell: a number, a pair ``(mean, standard deviation)``,
            text, or None for an empty cell.
        columns: Columns and their order; by default those of the rows as they come.
        best: Column -> ``"min"``, ``"max"``, or a target number (the nearest wins). Rows whose
            name starts with ``"paper"`` or ``"reference"`` do not compete.
        caption: Text above the table.
        corner: Heading of the column of row names.
        turned: Make columns rows, where there are more of them than fit a page; ``best`` and
            ``corner`` are then of the turned table.

    Raises:
        ValueError: if there are no rows, or ``best`` names an unknown column or rule.
    """
    if not rows:
        raise ValueError("A table needs at least one row.")
    rows = {str(name): cells for name, cells in rows.items()}
    columns = list(columns or dict.fromkeys(chain.from_iterable(rows.values())))
    if turned:
        rows = {c: {name: cells.get(c) for name, cells in rows.items()} for c in columns}
        columns = list(rows[columns[0]])
    winners = {column: _best(rows, column, rule) for column, rule in (best or {}).items()}
    if unknown := set(winners) - set(columns):
        raise ValueError(
            f"best names the column {sorted(unknown)[0]!r}, which is not in the table."
        )
    head = "".join(_heading(c, [r.get(c, "") for r in rows.values()]) for c in columns)
    body = "".join(_row(row, cells, columns, winners) for row, cells in rows.items())
    texts = [[row, *(_cell(cells.get(c)) for c in columns)] for row, cells in rows.items()]
    lines = map("\t".join, [[corner, *columns], *texts])
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    html = (
        f'<table class="table srlib-table">{title}<thead><tr><th scope="col" '
        f'style="text-align:left">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    return Html(html, "\n".join(lines))


def _heading(column: str, cells: list) -> str:
    """Head of a column, on the left over words and on the right over numbers."""
    side = "left" if all(isinstance(cell, str) for cell in cells) else "right"
    return f'<th scope="col" style="text-align:{side}">{escape(column)}</th>'


def _row(row: str, cells: Mapping, columns: list[str], winners: Mapping[str, set[str]]) -> str:
    """A row of a table as HTML; a winner is bold."""
    tds = ""
    for column in columns:
        text = escape(_cell(cells.get(column)))
        text = f"<strong>{text}</strong>" if row in winners.get(column, ()) else text
        side = "left" if isinstance(cells.get(column), str) else "right"
        tds += f'<td style="text-align:{side}">{text}</td>'
    return f'<tr><th scope="row" style="text-align:left">{escape(row)}</th>{tds}</tr>'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return plus_minus(*value)
    return number(value)


def _best(rows: Mapping[str, Mapping[str, Any]], column: str, rule: str | float) -> set[str]:
    scores = {}
    for row, cells in rows.items():
        value = cells.get(column)
        value = value[0] if isinstance(value, tuple) else value
        if isinstance(value, str) or value is None or row.startswith(("paper", "reference")):
            continue
        if not np.isfinite(value):
            continue
        if rule == "min":
            scores[row] = value
        elif rule == "max":
            scores[row] = -value
        elif isinstance(rule, int | float):
            scores[row] = abs(value - rule)
        else:
            raise ValueError(f"best[{column!r}]={rule!r} should be 'min', 'max' or a number.")
    return {row for row, score in scores.items() if score == min(scores.values())}
