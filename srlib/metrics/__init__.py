"""Measures of a labelled microstructure: how much, how finely divided, how well connected.

Labels are integer arrays with phases ``0 .. n-1``, 2D ``(H, W)`` or 3D ``(D, H, W)``, axis order
z, y, x. Lengths are counted in voxels and areas per voxel face, and nothing wraps around the
border.
"""

from srlib.metrics.correlation import (
    chord_lengths,
    mean_chord,
    radial_spectrum,
    reach_probability,
    two_point,
)
from srlib.metrics.image_quality import decibels, rms_error, seams, threshold_disagreement
from srlib.metrics.morphology import (
    count_bodies,
    euler_number,
    interphase_areas,
    isosurface,
    pore_sizes,
    small_bodies,
    surface_areas,
    thin_parts,
    tpb_density,
    volume_fractions,
)
from srlib.metrics.permeability import DARCY, permeability
from srlib.metrics.segmentation import confused_fraction, confusion
from srlib.metrics.statistics import (
    class_errors,
    compare,
    consistency,
    cube_means,
    cube_statistics,
    depth_scores,
    descriptors,
    errors_percent,
    gain,
    image_errors,
    octants,
    random_cubes,
    reference_statistics,
)
from srlib.metrics.symmetry import anisotropy, curtaining_index, grid_imprint, symmetries
from srlib.metrics.transport import (
    connected_share,
    formation_factor,
    hashin_shtrikman,
    percolates,
    tortuosity_factor,
    transport_efficiency,
)

__all__ = [
    "DARCY",
    "anisotropy",
    "chord_lengths",
    "class_errors",
    "compare",
    "confused_fraction",
    "confusion",
    "connected_share",
    "consistency",
    "count_bodies",
    "cube_means",
    "cube_statistics",
    "curtaining_index",
    "decibels",
    "depth_scores",
    "descriptors",
    "errors_percent",
    "euler_number",
    "formation_factor",
    "gain",
    "grid_imprint",
    "hashin_shtrikman",
    "image_errors",
    "interphase_areas",
    "isosurface",
    "mean_chord",
    "octants",
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
    "surface_areas",
    "symmetries",
    "thin_parts",
    "threshold_disagreement",
    "tortuosity_factor",
    "tpb_density",
    "transport_efficiency",
    "two_point",
    "volume_fractions",
]
