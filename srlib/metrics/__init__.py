"""Measures of a labelled microstructure: how much, how finely divided, how well connected.

Labels are integer arrays with phases ``0 .. n-1``, 2D ``(H, W)`` or 3D ``(D, H, W)``, axis order
z, y, x. Lengths are counted in voxels and areas per voxel face, and nothing wraps around the
border.
"""

from srlib.metrics.agreement import compare, consistency, reference_statistics
from srlib.metrics.bodies import confusion, mixed_up, small_bodies, surface_areas
from srlib.metrics.cubes import cube_statistics, random_cubes
from srlib.metrics.faces import (
    anisotropy,
    grid_imprint,
    interphase_areas,
    tpb_density,
    volume_fractions,
)
from srlib.metrics.flow import (
    connected_share,
    euler_number,
    formation_factor,
    hashin_shtrikman,
    network_permeability,
    pore_sizes,
)
from srlib.metrics.lines import (
    chord_lengths,
    radial_spectrum,
    reach_probability,
    streaks,
    two_point,
)
from srlib.metrics.stokes import DARCY, permeability
from srlib.metrics.tables import class_errors, descriptors, errors_percent, image_errors
from srlib.metrics.thickness import thin_parts
from srlib.metrics.transport import percolates, tortuosity_factor, transport_efficiency
from srlib.metrics.volumes import (
    count_bodies,
    decibels,
    eighths,
    flipped,
    gain,
    isosurface,
    rms_error,
    seams,
)

__all__ = [
    "DARCY",
    "anisotropy",
    "chord_lengths",
    "class_errors",
    "compare",
    "confusion",
    "connected_share",
    "consistency",
    "count_bodies",
    "cube_statistics",
    "decibels",
    "descriptors",
    "eighths",
    "errors_percent",
    "euler_number",
    "flipped",
    "formation_factor",
    "gain",
    "grid_imprint",
    "hashin_shtrikman",
    "image_errors",
    "interphase_areas",
    "isosurface",
    "mixed_up",
    "network_permeability",
    "percolates",
    "permeability",
    "pore_sizes",
    "radial_spectrum",
    "random_cubes",
    "reach_probability",
    "reference_statistics",
    "rms_error",
    "seams",
    "small_bodies",
    "streaks",
    "surface_areas",
    "thin_parts",
    "tortuosity_factor",
    "tpb_density",
    "transport_efficiency",
    "two_point",
    "volume_fractions",
]
