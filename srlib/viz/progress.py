"""How a training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from srlib.viz.plots import column_names
from srlib.viz.style import SOURCES, line_colours, new_figure, pair_colours


def training(
    meta: Mapping[str, Any],
    phases: Sequence[str],
    *,
    targets: Mapping[str, Any] | None = None,
    gate: float = 0.005,
    stop: float | None = None,
) -> Figure:
    """How a training went: losses, the gate of the voxel-wise loss, metrics beside their targets.

    Args:
        meta: Of the trained generator; ``"best_iteration"``, if there, is that of the checkpoint
            that was kept. ``"history"`` has records in order, each with ``"iteration"`` and any of
            ``"gap"`` (critic), ``"style"`` and ``"content"`` (the two terms of the generator's
            loss), ``"voxelwise"``, ``"anchored"`` (share of iterations with the voxel-wise loss
            above its gate), ``"volume_fractions"``, ``"interphase_areas"`` (one for each pair),
            ``"stop"`` (mean relative error of both), ``"imprint"`` and ``"anisotropy"``. Without a
            coarse volume no ``"voxelwise"`` is above 0, and its panel shows ``"s2"``, the error of
            the two-point functions.
        phases: Phase names, darkest first.
        targets: ``"volume_fractions"`` and ``"interphase_areas"`` of the high-resolution image,
            as in its :func:`srlib.metrics.reference_statistics`, drawn as dotted lines.
        gate: Voxel-wise loss below which it is silent (SuperRes, section 3).
        stop: Mean relative error at which training may stop (SR-23).

    Raises:
        ValueError: if the history is empty or a record has no iteration.
    """
    history, chosen = meta["history"], meta.get("best_iteration")
    if not history or any("iteration" not in record for record in history):
        raise ValueError("The history should be a list of records, each with its 'iteration'.")
    figure, axes = new_figure(2, 3, height=5.2, sharex=True)
    gap, voxel, error, fractions, areas, signs = axes.flat
    _trace(gap, history, "gap", "critic gap", SOURCES[0])
    _trace(gap, history, "style", "style: -D(fake)", SOURCES[1])
    anchored = any(record.get("voxelwise") for record in history)
    if anchored:
        _trace(gap, history, "content", "content: c times loss", SOURCES[2])
        _voxelwise(voxel, history, gate)
    else:
        _trace(voxel, history, "s2", "error", SOURCES[0])
    _trace(error, history, "stop", "error", SOURCES[0])
    if stop is not None:
        error.axhline(stop, color="black", linewidth=1, linestyle=":", label="stop rule")
    _trace(signs, history, "imprint", "grid imprint", SOURCES[0])
    _trace(signs, history, "anisotropy", "anisotropy", SOURCES[1])
    pairs = [name.replace("\n", "") for name in column_names("interphase_areas", phases)]
    colours = line_colours(len(phases)), pair_colours(len(pairs))
    _beside_targets(fractions, history, "volume_fractions", phases, colours[0], targets or {})
    _beside_targets(areas, history, "interphase_areas", pairs, colours[1], targets or {})
    for ax, title in zip(axes.flat, _titles(anchored), strict=True):
        ax.set_title(title)
        if chosen is not None:
            ax.axvline(chosen, color="#aaaaaa", linewidth=1, zorder=0)
    for ax in axes[1]:
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator(3))
    for ax in (error, signs, *[voxel] * (not anchored)):
        ax.set_ylim(0, 1.15 * max(ax.dataLim.ymax, 0.01))
    for ax in axes.flat:
        _legend_above(ax)
    _legend_below(figure, bool(targets), chosen is not None)
    return figure


def _titles(anchored: bool) -> tuple[str, ...]:
    """Titles of the six panels; ``anchored`` is a training with a coarse volume."""
    terms = "generator's two terms" if anchored else "style term"
    return (
        f"critic gap and the\n{terms}",
        "voxel-wise loss\n(logarithmic)" if anchored else "mean error of the\ntwo-point functions",
        "mean relative error of\nfractions and areas",
        "volume fraction",
        "interphase area\n(faces / all faces)",
        "face density artefacts",
    )


def _legend_below(figure: Figure, targets: bool, chosen: bool) -> None:
    """What the dotted and the grey lines are, as far as there are any."""
    handles = []
    if targets:
        handles.append(Line2D([], [], color="black", linestyle=":", label="fine image"))
    if chosen:
        handles.append(Line2D([], [], color="#aaaaaa", linewidth=1, label="checkpoint kept"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _voxelwise(ax: Axes, history: Sequence[Mapping], gate: float) -> None:
    """The voxel-wise loss and how often it was above its gate, on a logarithmic axis."""
    _trace(ax, history, "voxelwise", "loss", SOURCES[0])
    _trace(ax, history, "anchored", "iterations above gate", SOURCES[1])
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.axhline(gate, color="black", linewidth=1, linestyle=":", label="gate")


def _beside_targets(
    ax: Axes,
    history: Sequence[Mapping],
    key: str,
    names: Sequence[str],
    colours: Sequence,
    targets: Mapping,
) -> None:
    """A curve for each phase or pair, and its target as a dotted line."""
    wanted = _numbers(targets[key]) if key in targets else []
    for column, (name, colour) in enumerate(zip(names, colours, strict=True)):
        _trace(ax, history, key, name, colour, column)
        if wanted:
            ax.axhline(wanted[column], color=colour, linewidth=1.2, linestyle=":")


def _legend_above(ax: Axes) -> None:
    """A legend above the curves, with room made for it; none for a single name."""
    names = ax.get_legend_handles_labels()[1]
    if len(names) < 2:
        return
    columns = 1 if len(names) < 4 else 2
    frame = {"frameon": True, "framealpha": 1, "edgecolor": "none", "borderpad": 0.1}
    how = {"handlelength": 1.0, "columnspacing": 0.6, "fontsize": 8 if columns == 1 else 7}
    ax.legend(ncols=columns, loc="upper right", **frame, **how)
    share = 0.05 + 0.11 * -(-len(names) // columns)  # of the height that the legend takes
    low, high = ax.get_ylim()
    room = share / (1 - share)
    if ax.get_yscale() == "log":
        ax.set_ylim(low, high * (high / low) ** room)
    else:
        ax.set_ylim(low, high + room * (high - low))


def _trace(
    ax: Axes,
    history: Sequence[Mapping],
    key: str,
    name: str,
    colour: Any,
    column: int | None = None,
) -> None:
    records = [record for record in history if record.get(key) is not None]
    values = [r[key] if column is None else _numbers(r[key])[column] for r in records]
    if records:
        steps = [record["iteration"] for record in records]
        ax.plot(steps, values, color=colour, linewidth=1.2, label=name)


def _numbers(value: Any) -> list[float]:
    return [float(v) for v in (value.values() if isinstance(value, Mapping) else value)]
