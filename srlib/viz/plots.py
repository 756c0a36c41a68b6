"""Curves and distributions: violins, two-point functions, training, spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srlib.viz.images import show_slice
from srlib.viz.style import SOURCES, line_colours, new_figure

PANELS = {
    "volume_fractions": "volume fraction",
    "interphase_areas": "interphase area\n(faces / all faces)",
    "transport_efficiencies": "transport efficiency",
}
"""The three panels of SuperRes Figs. 2, 5 and 7, and their axis labels."""


def violins(
    stats_by_source: Mapping[str, Mapping[str, Any]],
    phases: Sequence[str],
    points: Mapping[str, Any] | None = None,
    *,
    point_name: str = "2D image",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Distributions over sub-volumes, in the arrangement of SuperRes Fig. 7.

    Args:
        stats_by_source: Source name (the original first) -> panel (a key of :data:`PANELS`) ->
            an array ``(cubes, columns)``, or a dictionary column -> array of cubes. The columns
            are phases or, for areas, the pairs (0, 1), (0, 2), ...
        phases: Phase names, darkest first.
        points: Panel -> one value for each column, drawn as black pluses.
        point_name: Name of the pluses in the legend.
        colours: Source name -> colour; by default :data:`SOURCES` in order.

    Raises:
        ValueError: if there is no source, no known panel, or a value is NaN or infinite.
    """
    points = dict(points or {})
    shown = [key for key in PANELS if any(key in stats for stats in stats_by_source.values())]
    if not shown:
        raise ValueError(f"Give at least one source with one of {', '.join(PANELS)}.")
    colours = colours or dict(zip(stats_by_source, SOURCES, strict=False))
    figure, axes = new_figure(1, len(shown), height=3.3)
    for ax, key in zip(axes[0], shown, strict=True):
        tables = {
            name: _columns(stats[key], f"{name}, {key}")
            for name, stats in stats_by_source.items()
            if key in stats
        }
        columns = list(dict.fromkeys(column for t in tables.values() for column in t))
        width = 0.8 / len(tables)
        for number, (name, columned) in enumerate(tables.items()):
            offset = (number - (len(tables) - 1) / 2) * width
            for place, column in enumerate(columns):
                if column in columned:
                    _violin(ax, columned[column], place + offset, 0.92 * width, colours[name])
        for place, column in enumerate(columns):
            value = _columns(points[key], key).get(column) if key in points else None
            if value is not None:
                ax.plot(place, float(np.mean(value)), "k+", markersize=9, markeredgewidth=1.6)
        ax.set_xticks(range(len(columns)), [_column_name(c, phases) for c in columns])
        ax.set_ylabel(PANELS[key])
        ax.set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=colours[name], linewidth=7, alpha=0.6, label=name)
        for name in stats_by_source
    ]
    if points:
        handles.append(
            Line2D(
                [],
                [],
                color="black",
                marker="+",
                linestyle="",
                markersize=9,
                markeredgewidth=1.6,
                label=point_name,
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.2)
    return figure


def _violin(ax: Axes, values: np.ndarray, place: float, width: float, colour: str) -> None:
    if np.ptp(values) > 1e-9 * max(1.0, abs(values).max()):
        body = ax.violinplot(values, [place], widths=width, showextrema=False, points=200)
        for shape in body["bodies"]:
            shape.set(facecolor=colour, edgecolor=colour, alpha=0.45, linewidth=0.8)
    half = 0.5 * width
    ax.plot(
        [place - half, place + half],
        [values.mean()] * 2,
        color=colour,
        linewidth=1.8,
        solid_capstyle="butt",
    )


def _columns(value: Any, name: str) -> dict[Any, np.ndarray]:
    if isinstance(value, Mapping):
        columns = {key: np.atleast_1d(np.asarray(item, float)) for key, item in value.items()}
    else:
        array = np.asarray(value, float)
        array = array[None] if array.ndim == 1 else array
        n = array.shape[1]
        keys = range(n)
        columns = {key: array[:, key] for key in keys}
    if not columns or any(c.size == 0 or not np.isfinite(c).all() for c in columns.values()):
        raise ValueError(f"{name} is empty or holds NaN or infinite values.")
    return columns


def _column_name(column: Any, phases: Sequence[str]) -> str:
    if isinstance(column, tuple):
        return "/\n".join(phases[phase] for phase in column)
    return phases[column] if isinstance(column, int) else str(column)


def curves(
    panels: Mapping[str, Mapping[str, tuple]],
    phases: Sequence[str] = (),
    *,
    names: tuple[str, str] = ("original", "super-res"),
    xlabel: str = "distance $d$ (voxels)",
    ylabel: str = "probability",
) -> Figure:
    """Pairs of curves in the style of SuperRes Fig. 10: original solid, super-res dashed.

    Args:
        panels: Panel title -> curve name -> ``(original, super_res)``. Each is an array over
            distances 0, 1, ...; a super-res array ``(runs, distances)`` draws the mean of the runs
            and a band from their lowest to highest.
        phases: A curve named like a phase takes the colour of that phase.
        names: Names of the solid and the dashed lines.
        xlabel: Label below.
        ylabel: Label on the left.

    Raises:
        ValueError: if there is no panel or a curve holds NaN.
    """
    if not panels:
        raise ValueError("Give at least one panel of curves.")
    figure, axes = new_figure(1, len(panels), height=3.3)
    inks = dict(zip(phases, line_colours(len(phases)), strict=True)) if phases else {}
    for ax, (title, pairs) in zip(axes[0], panels.items(), strict=True):
        spare = iter(line_colours(max(2, len(pairs))))
        for name, (original, generated) in pairs.items():
            colour = inks.get(name) or next(spare)
            original, runs = np.asarray(original, float), np.atleast_2d(generated).astype(float)
            if np.isnan(original).any() or np.isnan(runs).any():
                raise ValueError(f"The curve {name!r} of {title!r} holds NaN.")
            ax.plot(original, color=colour, label=name)
            ax.plot(runs.mean(axis=0), color=colour, linestyle=(0, (4, 2)))
            if len(runs) > 1:
                ax.fill_between(
                    range(runs.shape[1]),
                    runs.min(axis=0),
                    runs.max(axis=0),
                    color=colour,
                    alpha=0.25,
                    linewidth=0,
                )
        ax.set_title(title)
        ax.set_xlabel(xlabel)
        ax.margins(x=0)
        ax.set_ylim(bottom=0)
        ax.legend(handlelength=1.2)
    axes[0, 0].set_ylabel(ylabel)
    handles = [
        Line2D([], [], color="black", linestyle=style, label=name)
        for name, style in zip(names, ("-", (0, (4, 2))), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def training(
    history: Sequence[Mapping[str, Any]],
    phases: Sequence[str],
    *,
    targets: Mapping[str, Any] | None = None,
    gate: float | None = 0.005,
    stop: float | None = None,
    chosen: int | None = None,
) -> Figure:
    """How a training went: losses, the voxel-wise loss and its gate, the metrics and their targets.

    Args:
        history: Records in order, each with ``"iteration"`` and any of ``"critic_loss"``,
            ``"generator_loss"``, ``"voxel_loss"``, ``"fractions"`` (one for each phase),
            ``"areas"`` (one for each pair, or a dictionary), ``"error"`` (mean relative error of
            fractions and areas).
        phases: Phase names, darkest first.
        targets: ``"fractions"`` and ``"areas"`` of the high-resolution image, drawn as thin lines.
        gate: Voxel-wise loss below which it is switched off (SuperRes, section 3).
        stop: Error at which training may stop (SR-23).
        chosen: Iteration of the checkpoint that was kept.

    Raises:
        ValueError: if the history is empty or a record has no iteration.
    """
    if not history or any("iteration" not in record for record in history):
        raise ValueError("The history should be a list of records, each with its 'iteration'.")
    targets = targets or {}
    pairs = list(combinations(range(len(phases)), 2))
    figure, axes = new_figure(2, 2, height=5.4)
    losses, voxel, fractions, areas = axes.flat
    for key, name, colour in (
        ("critic_loss", "critic", SOURCES[0]),
        ("generator_loss", "generator", SOURCES[1]),
    ):
        _trace(losses, history, key, name, colour)
    losses.set_ylabel("adversarial loss")
    _trace(voxel, history, "voxel_loss", "voxel-wise loss", SOURCES[0])
    voxel.set_yscale("log")
    voxel.set_ylabel("voxel-wise loss")
    if gate:
        voxel.axhline(gate, color="black", linewidth=0.9, linestyle=":", label="gate")
    for ax, key, names, colours in (
        (fractions, "fractions", list(phases), line_colours(len(phases))),
        (areas, "areas", [f"{phases[a]}/{phases[b]}" for a, b in pairs], SOURCES[: len(pairs)]),
    ):
        for column, (name, colour) in enumerate(zip(names, colours, strict=False)):
            _trace(ax, history, key, name, colour, column)
            if key in targets:
                target = _row(targets[key])[column]
                ax.axhline(target, color=colour, linewidth=1, linestyle=(0, (1, 1.5)))
    fractions.set_ylabel("volume fraction")
    areas.set_ylabel("interphase area\n(faces / all faces)")
    for ax in axes.flat:
        ax.set_xlabel("iteration")
        if chosen is not None:
            ax.axvline(chosen, color="#999999", linewidth=1, zorder=0)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(handlelength=1.2)
    return figure


def _trace(ax: Axes, history, key: str, name: str, colour, column: int | None = None) -> None:
    steps = [record["iteration"] for record in history if record.get(key) is not None]
    values = [record[key] for record in history if record.get(key) is not None]
    if column is not None:
        values = [_row(value)[column] for value in values]
    if steps:
        ax.plot(steps, values, color=colour, linewidth=1.2, label=name)


def _row(value: Any) -> list[float]:
    return [float(v) for v in (value.values() if isinstance(value, Mapping) else value)]


def spectra(
    images: Mapping[str, np.ndarray],
    results: Mapping[str, tuple[np.ndarray, np.ndarray]],
    phases: Sequence[str],
    voxel_nm: float | None = None,
) -> Figure:
    """Slices, their log-FFT maps and radial profiles, as in SuperRes Fig. 18.

    Args:
        images: Name -> label image or grey image, all of one shape.
        results: Name -> ``(map, profile)`` from :func:`srlib.metrics.radial_spectrum`.
        phases: Phase names, darkest first.
        voxel_nm: Pixel edge in nm; None counts in px.

    Raises:
        ValueError: if the names differ.
    """
    if not images or list(images) != list(results):
        raise ValueError("images and results should hold the same names in the same order.")
    figure, axes = new_figure(len(images), 3, height=2.45 * len(images) + 0.4)
    low = min(float(np.min(m)) for m, _ in results.values())
    high = max(float(np.max(m)) for m, _ in results.values())
    for row, (name, image) in zip(axes, images.items(), strict=True):
        magnitude, profile = results[name]
        show_slice(row[0], image, phases, voxel_nm, name)
        row[1].imshow(magnitude, cmap="magma", vmin=low, vmax=high, extent=(-0.5, 0.5, -0.5, 0.5))
        row[1].set_xlabel("cycles per px")
        row[1].set_xticks([-0.5, 0, 0.5])
        row[1].set_yticks([-0.5, 0, 0.5])
        for other, colour in zip(results, SOURCES, strict=False):
            line = results[other][1]
            own = other == name
            row[2].plot(
                np.arange(len(line)) / max(image.shape),
                line,
                color=colour if own else "#bbbbbb",
                label=other,
                zorder=2 + own,
            )
        row[2].set_xlabel("cycles per px")
        row[2].set_ylabel("mean log magnitude")
        row[2].margins(x=0)
        row[2].legend(handlelength=1.2)
    return figure
