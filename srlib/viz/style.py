"""One style for every figure: fonts, colours and scale bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

PAGE_INCHES = 7.5
"""Figure width; a page shows an inch as 100 px, so a figure fills a text column of 750 px."""

SOURCES = ("#0072B2", "#D55E00", "#8A8A8A", "#E6B800", "#5D2A6B")
"""Colours of data sources in the order given: original, super-res, then the baselines."""

_FILLS = ("#0e1730", "#2b5680", "#3c8b93", "#9cc795", "#fbf1cf")
_LINES = ("#0e1730", "#2a6f97", "#3c8b93", "#8a9a3c", "#d08c1f")
_PAIRS = ("#46307f", "#b5397c", "#ec9a4e")

_STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def use_style() -> None:
    """Set the style of this book for all figures that follow."""
    mpl.rcParams.update(_STYLE)


def new_figure(
    rows: int = 1, columns: int = 1, height: float = 3.0, width: float = PAGE_INCHES, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure in the style with a ``(rows, columns)`` array of axes; sizes in inches."""
    use_style()
    return plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options
    )


def phase_colours(n: int) -> list[tuple[float, float, float]]:
    """RGB fill of each of ``n`` phases, darkest (the pore) to lightest.

    Brightness alone tells them apart, so they survive colour blindness and a grey print.

    Raises:
        ValueError: if ``n`` is not between 1 and 10.
    """
    return _sample(_FILLS, n)


def line_colours(n: int) -> list[tuple[float, float, float]]:
    """RGB of each of ``n`` phases for lines on white: the fills with a darker light end."""
    return _sample(_LINES, n)


def pair_colours(n: int) -> list[tuple[float, float, float]]:
    """RGB of each of ``n`` pairs of phases for lines on white, dark to bright."""
    return _sample(_PAIRS, n)


def _sample(anchors: tuple[str, ...], n: int) -> list[tuple[float, float, float]]:
    if not 1 <= n <= 10:
        raise ValueError(f"There are colours for 1 to 10 phases or pairs, not for {n}.")
    ramp = LinearSegmentedColormap.from_list("ramp", anchors)
    return [to_rgb(ramp(step)) for step in np.linspace(0, 1, max(2, n))[:n]]


def scale_bar(width: int, voxel_nm: float | None = None) -> tuple[float, str]:
    """A round length of about a quarter of the image.

    Args:
        width: Image width in voxels.
        voxel_nm: Edge of a voxel in nm, or None where it is not known.

    Returns:
        The bar in voxels and its text, in nm, µm, mm, or ``px`` for ``voxel_nm=None``.

    Raises:
        ValueError: if the width or the voxel size is not above 0.

    Example:
        >>> from srlib.viz.style import scale_bar
        >>> length, text = scale_bar(256, voxel_nm=400)
        >>> float(length), text  # in voxels, and what it says
        (50.0, '20 µm')
    """
    if width <= 0 or (voxel_nm is not None and not voxel_nm > 0):
        raise ValueError(
            f"A scale bar needs a width and a voxel size above 0, not {width} and {voxel_nm}."
        )
    size = 1.0 if voxel_nm is None else float(voxel_nm)
    aim = 0.3 * width * size
    decade = 10.0 ** np.floor(np.log10(aim))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= aim * (1 + 1e-9))
    if voxel_nm is None:
        length = max(1.0, length)
        return length, f"{length:g} px"
    for unit, factor in (("mm", 1e6), ("µm", 1e3), ("nm", 1.0)):
        if length >= factor:
            return length / size, f"{length / factor:g} {unit}"
    return length / size, f"{length:g} nm"


def draw_scale_bar(ax: Axes, width: int, voxel_nm: float | None, note: str = "") -> None:
    """Draw the bar of :func:`scale_bar` under an image that is one data unit wide."""
    length, text = scale_bar(width, voxel_nm)
    end, down = length / width, ScaledTranslation(0, -0.11, ax.figure.dpi_scale_trans)
    below = ax.get_xaxis_transform() + down
    ax.plot([0, end], [0, 0], "k", lw=3, solid_capstyle="butt", clip_on=False, transform=below)
    ax.text(end + 0.025, 0, text + note, fontsize=9, va="center", transform=below)


def phase_legend(figure: Figure, phases: Sequence[str]) -> None:
    """Name the phases in one row under the figure."""
    handles = [
        Patch(facecolor=colour, edgecolor="#555555", linewidth=0.6, label=name)
        for colour, name in zip(phase_colours(len(phases)), phases, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(phases),
        handlelength=1.1,
        handleheight=1.1,
        columnspacing=1.8,
    )
