"""Distributions, curves over distance, and spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srlib.viz.images import show_slice
from srlib.viz.style import SOURCES, line_colours, new_figure, pair_colours

FEW = 5  # fewer values are drawn as dots: a smooth shape would say more than is known
_PANELS = {
    "volume_fractions": ("volume fraction", ""),
    "interphase_areas": ("interphase area", "faces / all faces"),
    "transport": ("transport efficiency", ""),
    "tpb": ("triple-phase boundary density", "edges / all edges"),
}


def violins(
    stats_by_source: Mapping[str, Mapping[str, Any]],
    phases: Sequence[str],
    points: Mapping[str, Any] | None = None,
    *,
    panels: Sequence[str] = ("volume_fractions", "interphase_areas", "transport"),
    point_name: str = "2D image",
    colours: Mapping[str, str] | None = None,
    directions: Sequence[str] = (),
) -> Figure:
    """Distributions over sub-volumes, in the arrangement of SuperRes Figs. 2, 5 and 7.

    Fewer than :data:`FEW` values are drawn as dots.

    Args:
        stats_by_source: Source name (the original first) -> what
            :func:`srlib.metrics.cube_statistics` returns; a panel that a source lacks is left out.
            Axes of transport are pooled, unless ``directions`` names them.
        phases: Phase names, darkest first.
        points: Panel -> its value for each phase or pair, drawn as black pluses: an array, or a
            dictionary as :func:`srlib.metrics.interphase_areas` returns.
        panels: Any of ``"volume_fractions"``, ``"interphase_areas"``, ``"transport"``, ``"tpb"``.
        point_name: Name of the pluses in the legend.
        colours: Source name -> colour; by default :data:`SOURCES` in order.
        directions: Names of the axes of transport, in order: each phase and axis then has a
            column of its own.

    Raises:
        ValueError: if there is nothing to draw, a panel is unknown, a value is NaN or infinite, or
            the columns do not match the phases.
    """
    if unknown := set(panels) - set(_PANELS):
        raise ValueError(f"There is no panel {unknown.pop()!r}; give {', '.join(_PANELS)}.")
    tables = _tables(stats_by_source, panels, phases, directions)
    if not tables:
        raise ValueError(f"Give at least one source with one of {', '.join(panels)}.")
    if colours is None and len(stats_by_source) > len(SOURCES):
        raise ValueError(f"Give colours to draw more than {len(SOURCES)} sources.")
    colours = colours or dict(zip(stats_by_source, SOURCES, strict=False))
    points = points or {}
    ratios = [len(column_names(panel, phases, directions)) + 1 for panel in tables]
    shape: dict[str, Any] = {"gridspec_kw": {"width_ratios": ratios}} if directions else {}
    figure, axes = new_figure(1, len(tables), height=3.4, **shape)
    for ax, (panel, found) in zip(axes[0], tables.items(), strict=True):
        marks = _table(points[panel], panel, phases, point_name)[0] if panel in points else ()
        _violin_panel(ax, panel, found, colours, column_names(panel, phases, directions), marks)
    handles = [
        Line2D([], [], color=colours[name], linewidth=7, alpha=0.6, label=name)
        for name in stats_by_source
    ]
    if points:
        style: dict[str, Any] = {
            "marker": "+",
            "linestyle": "",
            "markersize": 9,
            "markeredgewidth": 1.6,
        }
        handles.append(Line2D([], [], color="black", label=point_name, **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.2)
    return figure


def _tables(
    stats_by_source: Mapping,
    panels: Sequence[str],
    phases: Sequence[str],
    directions: Sequence[str],
) -> dict[str, dict]:
    """Panel -> source -> its values, a column for each phase or pair; without empty panels."""
    tables = {
        panel: {
            name: _table(stats[panel], panel, phases, name, directions)
            for name, stats in stats_by_source.items()
            if panel in stats and np.size(stats[panel])
        }
        for panel in panels
    }
    return {panel: found for panel, found in tables.items() if found}


def _violin_panel(
    ax: Axes,
    panel: str,
    found: Mapping,
    colours: Mapping,
    names: Sequence[str],
    marks: Sequence[float] | np.ndarray,
) -> None:
    """Violins of every source side by side, a group for each column, and the pluses."""
    width = 0.82 / len(found)
    for order, (name, table) in enumerate(found.items()):
        offset = (order - (len(found) - 1) / 2) * width
        for place, values in enumerate(table.T):
            _violin(ax, values, place + offset, 0.94 * width, colours[name])
    if len(marks):
        ax.plot(range(len(marks)), marks, "k+", markersize=9, markeredgewidth=1.6, zorder=4)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    ax.tick_params(axis="x", length=0)
    title, unit = _PANELS[panel]
    ax.set_title(title)
    ax.set_ylabel(unit)
    ax.set_ylim(bottom=0)


def _violin(ax: Axes, values: np.ndarray, place: float, width: float, colour: str) -> None:
    if len(values) < FEW:
        ax.scatter(np.full(len(values), place), values, 9, color=colour, alpha=0.6, linewidth=0)
    elif np.ptp(values) > 1e-9 * max(1.0, abs(values).max()):
        body: Any = ax.violinplot(values, [place], widths=width, showextrema=False, points=200)
        for shape in body["bodies"]:
            shape.set(facecolor=colour, edgecolor=colour, alpha=0.45, linewidth=0.8)
    ends = [place - width / 2, place + width / 2]
    ax.plot(ends, [values.mean()] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")


def _table(
    value: Any, panel: str, phases: Sequence[str], name: str, directions: Sequence[str] = ()
) -> np.ndarray:
    if isinstance(value, Mapping):
        value = list(value.values())
    columns = len(column_names(panel, phases, directions))
    array = np.asarray(value, float)
    if panel == "transport" and directions:
        if array.ndim != 3 or array.shape[1] != len(directions):
            raise ValueError(
                f"transport of {name} has shape {array.shape}, not {len(directions)} axes."
            )
        array = array.swapaxes(1, 2).reshape(len(array), -1)
    if array.size == 0 or array.size % columns or (array.ndim > 1 and array.shape[-1] != columns):
        raise ValueError(f"{panel} of {name} has shape {array.shape}, not {columns} columns.")
    if not np.isfinite(array).all():
        raise ValueError(f"{panel} of {name} holds NaN or infinite values.")
    return array.reshape(-1, columns)


def column_names(panel: str, phases: Sequence[str], directions: Sequence[str] = ()) -> list[str]:
    if panel == "tpb":
        return [""]
    if panel == "transport" and directions:
        return [f"{phase}\n{direction}" for phase in phases for direction in directions]
    if panel == "interphase_areas":
        return [f"{phases[a]}/\n{phases[b]}" for a, b in combinations(range(len(phases)), 2)]
    return list(phases)


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
        phases: A curve named like a phase takes the colour of that phase; the others have
            colours of their own.
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
        spare = iter(pair_colours(len(pairs)))
        for name, (original, generated) in pairs.items():
            colour = inks[name] if name in inks else next(spare)
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
    styles: tuple[Any, Any] = ("-", (0, (4, 2)))
    handles = [
        Line2D([], [], color="black", linestyle=style, label=name)
        for name, style in zip(names, styles, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


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
        lines = {}
        for other, colour in zip(results, SOURCES[:2] + SOURCES[3:], strict=False):
            line = results[other][1]
            own = other == name
            (lines[name if own else "the others"],) = row[2].plot(
                np.arange(1, len(line)) / min(image.shape),
                line[1:],
                color=colour if own else "#bbbbbb",
                zorder=2 + own,
            )
        row[2].set_xlabel("cycles per px")
        row[2].set_ylabel("mean log magnitude")
        row[2].margins(x=0)
        row[2].legend(lines.values(), lines.keys(), handlelength=1.2)
    return figure
