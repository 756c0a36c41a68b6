"""Measures of a labelled microstructure: how much, how finely divided, how well connected.

Labels are integer arrays with phases ``0 .. n-1``, 2D ``(H, W)`` or 3D ``(D, H, W)``, axis order
z, y, x. Lengths are counted in voxels and areas per voxel face, and nothing wraps around the
border.
"""

from srlib.metrics.agreement import compare, consistency, reference_statistics
from srlib.metrics.cubes import cube_statistics, random_cubes
from srlib.metrics.faces import (
    anisotropy,
    grid_imprint,
    interphase_areas,
    tpb_density,
    volume_fractions,
)
from srlib.metrics.lines import (
    chord_lengths,
    radial_spectrum,
    reach_probability,
    streaks,
    two_point,
)
from srlib.metrics.tables import descriptors, errors_percent
from srlib.metrics.thickness import thin_parts
from srlib.metrics.transport import percolates, tortuosity_factor, transport_efficiency

__all__ = [
    "anisotropy",
    "chord_lengths",
    "compare",
    "consistency",
    "cube_statistics",
    "descriptors",
    "errors_percent",
    "grid_imprint",
    "interphase_areas",
    "percolates",
    "radial_spectrum",
    "random_cubes",
    "reach_probability",
    "reference_statistics",
    "streaks",
    "thin_parts",
    "tortuosity_factor",
    "tpb_density",
    "transport_efficiency",
    "two_point",
    "volume_fractions",
]
