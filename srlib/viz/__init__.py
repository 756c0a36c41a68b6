"""Every figure's style, and the viewers; the only part of srlib that imports matplotlib.

A notebook calls ``viz.use_style()`` once, makes a figure with one of these functions, and puts it
into the page with ``viz.show(figure, alt=..., caption=...)``.
"""

from srlib.viz.images import (
    centre_crop,
    cube,
    disagreement,
    entropy_map,
    inputs_and_output,
    panel,
    same_field,
    show_slice,
    slice_at,
)
from srlib.viz.page import provenance, show, table
from srlib.viz.plots import PANELS, curves, spectra, training, violins
from srlib.viz.style import (
    SOURCES,
    line_colours,
    new_figure,
    phase_colours,
    phase_legend,
    scale_bar,
    use_style,
)
from srlib.viz.viewer import live_viewer, slice_viewer

__all__ = [
    "PANELS",
    "SOURCES",
    "centre_crop",
    "cube",
    "curves",
    "disagreement",
    "entropy_map",
    "inputs_and_output",
    "line_colours",
    "live_viewer",
    "new_figure",
    "panel",
    "phase_colours",
    "phase_legend",
    "provenance",
    "same_field",
    "scale_bar",
    "show",
    "show_slice",
    "slice_at",
    "slice_viewer",
    "spectra",
    "table",
    "training",
    "use_style",
    "violins",
]
