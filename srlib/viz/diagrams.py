"""Diagrams drawn from code: training (SuperRes, Fig. 11; InDI, Fig. 1) and a network (Fig. 13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

from srlib.viz.fields import centre_crop, check_labels, slice_at
from srlib.viz.images import cube, show_slice
from srlib.viz.style import PAGE_INCHES, SOURCES, use_style

_GENERATOR, _CRITIC = SOURCES[1], SOURCES[0]


def training_loop(
    hr: np.ndarray,
    lr: np.ndarray,
    sr: np.ndarray,
    phases: Sequence[str],
    *,
    lr_phases: Sequence[str] | None = None,
) -> Figure:
    """The training loop of SuperRes (Fig. 11) with pictures of the data at hand.

    Args:
        hr: High-resolution labels ``(rows, columns)``.
        lr: Low-resolution labels ``(d, h, w)``.
        sr: Super-resolution labels ``(D, H, W)``.
        phases: Phase names, darkest first.
        lr_phases: Names of the labels of ``lr`` if they are not ``phases``.

    Raises:
        ValueError: if a volume or an image does not fit the phases.
    """
    hr = check_labels(hr, len(phases), 2, "hr")
    sr = check_labels(sr, len(phases), 3, "sr")
    lr = check_labels(lr, len(lr_phases or phases), 3, "lr")
    figure, ax = canvas(4.35, 100, 58)
    edge = min(sr.shape) // 2
    bare = {"bar": False}
    picture(ax, cube, (1, 29, 14, 15), lr, phases, own_phases=lr_phases)
    label(ax, 8, 45, "coarse volume\n+ noise $z$")
    box(ax, (20, 32, 12, 9), "generator\n$G$", _GENERATOR)
    picture(ax, cube, (37, 28, 16, 17), sr, phases)
    label(ax, 45, 45, "super-res volume")
    for axis, corner in enumerate(((58.5, 37), (58.5, 29.6), (65.9, 33.3))):
        plane = centre_crop(slice_at(sr, axis, 0.5), (edge, edge))
        picture(ax, show_slice, (*corner, 6.4, 6.4), plane, phases, **bare)
    label(ax, 65.4, 45, "slices normal to\n$z$, $y$ and $x$")
    box(ax, (80, 32, 12, 9), "critic\n$D$", _CRITIC)
    box(ax, (17, 7, 18, 12), "voxel-wise loss\n$L_{vw}$, silent\nbelow the gate", _GENERATOR)
    box(ax, (38.5, 8.5, 13, 9), "down-\nsample", "#666666")
    picture(ax, show_slice, (58.5, 3, 14, 14), hr, phases, **bare)
    label(ax, 65.5, 17.5, "fine image")
    window = centre_crop(hr, (edge, edge))
    picture(ax, show_slice, (82.8, 6.8, 6.4, 6.4), window, phases, **bare)
    label(ax, 86, 1, "windows, turned\nand mirrored")
    for path in (
        [(15, 36.5), (20, 36.5)],
        [(32, 36.5), (37.5, 36.5)],
        [(53, 36.5), (57.8, 36.5)],
        [(73, 36.5), (80, 36.5)],
        [(45, 27.8), (45, 17.5)],
        [(38.5, 13), (35, 13)],
        [(8, 28.5), (8, 13), (17, 13)],
        [(73.2, 10), (82, 10)],
        [(86, 13.8), (86, 32)],
    ):
        arrow(ax, path)
    arrow(ax, [(26, 19), (26, 32)], _GENERATOR)
    arrow(ax, [(86, 41), (86, 55.5), (26, 55.5), (26, 41)], _GENERATOR)
    ax.text(25, 25.5, "update $G$", ha="right", va="center", color=_GENERATOR)
    ax.text(27.5, 53, "update $G$ to raise the score of its slices", va="center", color=_GENERATOR)
    ax.text(
        84.8,
        25,
        "update $D$: Wasserstein loss\nand gradient penalty",
        ha="right",
        va="center",
        color=_CRITIC,
    )
    return figure


def restoration_workflow(
    wide: np.ndarray,
    fine: np.ndarray,
    low: Sequence[np.ndarray],
    high: Sequence[np.ndarray],
    voxel_nm: tuple[float, float],
    names: Sequence[str],
) -> Figure:
    """How a restoration is trained once and applied to another sample in time (InDI, Fig. 1A-C).

    Args:
        wide: Slice of the coarse scan of the first sample, its whole field, grey in [0, 1].
        fine: Slice of its fine scan, round, of half the field, as many pixels.
        low: Slices of the second sample, one for each state.
        high: The same, restored.
        voxel_nm: Of the coarse and of the fine scan.
        names: Of the states.
    """
    figure, ax = canvas(3.9, 100, 52)
    bare = {"bar": False}
    for x, image, name in ((2, wide, "LQ"), (27, fine, "HQ")):
        picture(ax, show_slice, (x, 27, 20, 20), image, ["grey"], **bare)
        nm = voxel_nm[name == "HQ"]
        label(ax, x + 10, 47.6, f"{name}: {nm:.0f} nm, {len(image) * nm / 1000:.0f} µm wide")
    turn = np.linspace(0, 2 * np.pi, 100)
    radius = 5 * len(fine) * voxel_nm[1] / (len(wide) * voxel_nm[0]) * 2
    ax.plot(12 + radius * np.cos(turn), 37 + radius * np.sin(turn), color="#e69f00", zorder=9)
    box(ax, (53, 32, 14, 10), "scale and\nregister", "#666666")
    box(ax, (76, 32, 14, 10), "train\nthe network", _GENERATOR)
    box(ax, (44, 5, 12, 10), "restore,\nas it is", _GENERATOR)
    for k, (image, better, name) in enumerate(zip(low, high, names, strict=True)):
        for x, slice_, kind in ((1 + 13 * k, image, "LQ"), (61.5 + 12.8 * k, better, "InDI")):
            picture(ax, show_slice, (x, 4, 12, 12), slice_, ["grey"], **bare)
            label(ax, x + 6, 16.4, f"{kind}, {name}")
    for path in (
        [(48, 37), (53, 37)],
        [(67, 37), (76, 37)],
        [(40, 10), (44, 10)],
        [(56, 10), (61, 10)],
    ):
        arrow(ax, path)
    arrow(ax, [(83, 32), (83, 22), (50, 22), (50, 15)], _GENERATOR)
    ax.text(1, 23.5, "once, on one cell ↑", va="center", color="#666666")
    ax.text(1, 0.8, "in situ, on another cell", va="center", color="#666666")
    return figure


def canvas(height: float, width_units: float, height_units: float) -> tuple[Figure, Axes]:
    """An empty page to draw on, with units of its own."""
    use_style()
    figure = plt.figure(figsize=(PAGE_INCHES, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width_units), ylim=(0, height_units))
    ax.set_axis_off()
    return figure, ax


def picture(
    ax: Axes,
    draw: Callable[..., Any],
    box: tuple,
    labels: np.ndarray,
    phases: Sequence[str],
    **options: Any,
) -> None:
    """An image in a box ``(x, y, width, height)`` of it."""
    inset = ax.inset_axes(box, transform=ax.transData)
    draw(inset, labels, phases, **options)


def box(ax: Axes, place: tuple, text: str, colour: str) -> None:
    """A coloured box with a text in it."""
    x, y, width, height = place
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=1",
            facecolor=colour,
            alpha=0.14,
            linewidth=0,
        )
    )
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=1",
            facecolor="none",
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def label(ax: Axes, x: float, y: float, text: str) -> None:
    """Text above a place."""
    ax.text(x, y, text, ha="center", va="bottom")


def arrow(ax: Axes, path: Sequence[tuple], colour: str = "#333333") -> None:
    """A line along a path, with a head at its end."""
    *_, before, end = path
    ax.plot(*zip(*path[:-1], strict=True), color=colour, linewidth=1.4, solid_capstyle="butt")
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "mutation_scale": 11}
    ax.annotate("", end, before, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})


def architecture(model_rows: Sequence[tuple[str, Sequence[int], int]], title: str = "") -> Figure:
    """A network from top to bottom (SuperRes, Fig. 13): a bar as wide as each output is large.

    Args:
        model_rows: ``(layer name, output shape, parameters)`` in order, the shape without the
            batch: ``(channels, d, h, w)`` or ``(channels, h, w)``. See :func:`layer_rows`.
        title: Text above.

    Raises:
        ValueError: if there is no layer or a shape has no channels.
    """
    if not model_rows or any(len(shape) == 0 for _, shape, _ in model_rows):
        raise ValueError("Give at least one layer, each as (name, output shape, parameters).")
    edges = [max(shape[1:], default=1) for _, shape, _ in model_rows]
    deepest = max(shape[0] for _, shape, _ in model_rows)
    figure, ax = canvas(0.42 * (len(model_rows) + 2) + 0.2, 100, len(model_rows) + 2)
    ax.invert_yaxis()
    ax.text(1, 0.55, title or "layer", fontweight="bold", va="center")
    ax.text(79, 0.55, "output", ha="right", fontweight="bold", va="center")
    ax.text(99, 0.55, "parameters", ha="right", fontweight="bold", va="center")
    previous = None
    for row, ((name, shape, parameters), edge) in enumerate(
        zip(model_rows, edges, strict=True), start=1
    ):
        half = 1 + 13 * edge / max(edges)
        if previous:
            ax.add_patch(
                Polygon(
                    [
                        (48 - previous, row - 0.12),
                        (48 + previous, row - 0.12),
                        (48 + half, row + 0.12),
                        (48 - half, row + 0.12),
                    ],
                    facecolor="#dddddd",
                )
            )
        shade = 0.15 + 0.75 * np.log2(shape[0] + 1) / np.log2(deepest + 1)
        ax.add_patch(
            FancyBboxPatch(
                (48 - half, row + 0.12),
                2 * half,
                0.76,
                facecolor=_GENERATOR,
                alpha=shade,
                boxstyle="square,pad=0",
                linewidth=0,
            )
        )
        ax.text(1, row + 0.5, name, va="center")
        ax.text(79, row + 0.5, _shape(shape), ha="right", va="center")
        ax.text(99, row + 0.5, f"{parameters:,}" if parameters else "–", ha="right", va="center")
        previous = half
    total = sum(parameters for _, _, parameters in model_rows)
    ax.plot([1, 99], [len(model_rows) + 1.05] * 2, color="#333333", linewidth=0.8)
    ax.text(99, len(model_rows) + 1.5, f"{total:,}", ha="right", va="center", fontweight="bold")
    ax.text(
        1,
        len(model_rows) + 1.5,
        "bar: width is the edge of the output, shade its channels",
        va="center",
        fontsize=9,
    )
    return figure


def layer_rows(model: Any, x: Any) -> list[tuple[str, tuple[int, ...], int]]:
    """The rows of :func:`architecture`, from one run of a torch model.

    Args:
        model: A ``torch.nn.Module``. Its children are the layers, or those of its only child;
            layers without parameters that keep the shape are left out.
        x: One input batch.

    Returns:
        ``(name, output shape without the batch, parameters)`` in the order of the run.
    """
    rows: list[tuple[str, tuple[int, ...], int]] = [("input", tuple(x.shape[1:]), 0)]

    def note(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, _: Any, output: Any) -> None:
            shape, count = tuple(output.shape[1:]), sum(p.numel() for p in module.parameters())
            if count or shape != rows[-1][1]:
                rows.append((type(module).__name__ if name.isdigit() else name, shape, count))

        return hook

    layers = dict(model.named_children())
    while len(layers) == 1:
        layers = dict(next(iter(layers.values())).named_children())
    for name, layer in list(layers.items()):
        if type(layer).__name__ == "ModuleList":  # never runs itself
            del layers[name]
            layers |= {f"{name} {index + 1}": part for index, part in enumerate(layer)}
    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def _shape(shape: Sequence[int]) -> str:
    channels, *edges = shape
    if not edges:
        return str(channels)
    if len(set(edges)) == 1:
        return f"{channels} × {edges[0]}{'⁰¹²³'[len(edges)]}"
    return " × ".join(map(str, shape))
