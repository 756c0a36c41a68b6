"""Figures of a study: what one change does, and what a method pays for looking right."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from srlib.viz.style import new_figure, pair_colours


def arms(rows: Mapping[str, Mapping[str, Sequence[float]]], baseline: str | None = None) -> Figure:
    """One panel a measure, one line an arm, one dot a training, and a bar at their mean.

    Args:
        rows: Arm -> measure -> a value for each training; a missing measure leaves a gap.
        baseline: The arm whose range is shaded in all lines of a panel; by default the first.

    Raises:
        ValueError: if there is no arm, or a value is NaN or infinite.
    """
    if not rows:
        raise ValueError("Give at least one arm.")
    panels = list(dict.fromkeys(name for row in rows.values() for name in row))
    first = rows[baseline or next(iter(rows))]
    height = 0.9 + 0.24 * len(rows)
    figure, axes = new_figure(1, len(panels), height=height, sharey=True)
    colours = pair_colours(2)
    for ax, panel in zip(axes[0], panels, strict=True):
        if first.get(panel):
            low, high = min(first[panel]), max(first[panel])
            ax.axvspan(low, high, color="#bbbbbb", alpha=0.5, linewidth=0)
            ax.axvline((low + high) / 2, color="#bbbbbb", linewidth=0.8)
        for line, (name, row) in enumerate(rows.items()):
            values = np.asarray(row.get(panel, ()), float)
            if not np.isfinite(values).all():
                raise ValueError(f"{panel} of {name} holds NaN or infinite values.")
            ax.plot(values, np.full(len(values), line), "o", color=colours[0], markersize=4)
            if len(values):
                ax.plot(values.mean(), line, "|", color=colours[1], markersize=11, mew=1.6)
        seen = np.concatenate([np.ravel(row.get(panel, ())) for row in rows.values()]).astype(float)
        room = 0.1 * np.ptp(seen) or 0.1 * abs(seen[0]) or 1.0
        ax.set_xlim(seen.min() - room, seen.max() + room)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.ticklabel_format(useOffset=False)
        ax.set_title(panel)
        ax.grid(axis="y", color="#eeeeee")
        ax.set_axisbelow(True)
    axes[0, 0].set_yticks(range(len(rows)), list(rows))
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def trade_off(
    points: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[str]]],
    xlabel: str = "distortion: voxels wrong",
    ylabel: str = "perception: error of the statistics",
) -> Figure:
    """Distortion against perception: a method cannot be best at both.

    Args:
        points: Method -> (distortion, perception, label), one entry a setting, joined by a line.
        xlabel: Label below.
        ylabel: Label on the left.

    Raises:
        ValueError: if there is no method, or its lists differ in length.
    """
    if not points:
        raise ValueError("Give at least one method.")
    figure, axes = new_figure(1, 1, height=3.6)
    ax, colours = axes[0, 0], pair_colours(len(points))
    markers = "osD^vP*X"
    for i, (name, (x, y, labels)) in enumerate(points.items()):
        if not len(x) == len(y) == len(labels):
            raise ValueError(f"{name} has {len(x)} and {len(y)} values for {len(labels)} labels.")
        ax.plot(x, y, marker=markers[i % len(markers)], color=colours[i], label=name)
        for place in zip(labels, x, y, strict=True):
            ax.annotate(place[0], place[1:], (4, 4), textcoords="offset points", fontsize=7)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.legend(title="method")
    return figure
