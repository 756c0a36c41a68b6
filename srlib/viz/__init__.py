"""Every figure's style, and the viewers; the only part of srlib that imports matplotlib.

A notebook calls ``viz.use_style()`` once, makes a figure with one of these functions, and puts it
into the page with ``viz.show(figure, alt=..., caption=...)``.
"""

from srlib.viz.depth import depth_workflow, isosurface
from srlib.viz.diagrams import architecture, layer_rows, restoration_workflow, training_loop
from srlib.viz.fields import centre_crop, entropy, entropy_map, in_mask, same_field, slice_at
from srlib.viz.images import cube, disagreement, inputs_and_output, panel, show_slice
from srlib.viz.page import beside, show, table
from srlib.viz.plots import curves, spectra, violins
from srlib.viz.progress import training
from srlib.viz.report import report, report_html
from srlib.viz.studies import arms, trade_off
from srlib.viz.style import (
    SOURCES,
    line_colours,
    new_figure,
    pair_colours,
    phase_colours,
    phase_legend,
    scale_bar,
    use_style,
)
from srlib.viz.viewer import live_series_viewer, live_viewer, series_viewer, slice_viewer

__all__ = [
    "SOURCES",
    "architecture",
    "arms",
    "beside",
    "centre_crop",
    "cube",
    "curves",
    "depth_workflow",
    "disagreement",
    "entropy",
    "entropy_map",
    "in_mask",
    "inputs_and_output",
    "isosurface",
    "layer_rows",
    "line_colours",
    "live_series_viewer",
    "live_viewer",
    "new_figure",
    "pair_colours",
    "panel",
    "phase_colours",
    "phase_legend",
    "report",
    "report_html",
    "restoration_workflow",
    "same_field",
    "scale_bar",
    "series_viewer",
    "show",
    "show_slice",
    "slice_at",
    "slice_viewer",
    "spectra",
    "table",
    "trade_off",
    "training",
    "training_loop",
    "use_style",
    "violins",
]
