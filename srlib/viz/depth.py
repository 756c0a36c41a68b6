"""Figures of FIB-SEM stacks: how their depth is learnt (Fig. 1), and their surface (Fig. 2)."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from srlib.viz.diagrams import arrow, box, canvas, label, picture
from srlib.viz.images import show_slice
from srlib.viz.style import PAGE_INCHES, use_style


def isosurface(
    volume: np.ndarray, level: float, sections: Sequence[np.ndarray], voxel_nm: float | None = None
) -> Figure:
    """The surface at a grey value, drawn in 3D, and sections beside it.

    Args:
        volume: Grey values ``(D, H, W)``, the depth downwards; 100 voxels an edge are enough.
        level: The grey value.
        sections: Images in [0, 1], ``(H, W)``, of one size.
        voxel_nm: Of the volume and the sections.

    Raises:
        ValueError: if the level is outside of the grey values.
    """
    from skimage.measure import marching_cubes

    if not volume.min() < level < volume.max():
        raise ValueError(f"{level} is outside of the grey values: there is no surface")
    use_style()
    figure = plt.figure(figsize=(PAGE_INCHES, 2.7 + 0.2), layout="constrained")
    grid = figure.add_gridspec(1, 1 + len(sections), width_ratios=[1.5] + [1] * len(sections))
    ax = figure.add_subplot(grid[0], projection="3d")
    corners, faces, *_ = marching_cubes(volume.astype(np.float32), level)
    z, y, x = corners.T
    ax.plot_trisurf(x, y, z, triangles=faces, color="#9fb8c8", linewidth=0, antialiased=False)
    sizes = volume.shape[::-1]
    ax.set_box_aspect(sizes, zoom=0.88)
    ax.set(xlim=(0, sizes[0]), ylim=(0, sizes[1]), zlim=(sizes[2], 0))
    ax.set(xticks=[], yticks=[], zticks=[])
    for name, place in (("x", ax.set_xlabel), ("y", ax.set_ylabel), ("depth", ax.set_zlabel)):
        place(name, labelpad=-14)
    unit = "voxels" if voxel_nm is None else "nm"
    edges = " × ".join(f"{n * (voxel_nm or 1):.0f}" for n in volume.shape)
    ax.set_title(f"{edges} {unit}")
    for k, image in enumerate(sections, 1):
        show_slice(figure.add_subplot(grid[k]), image, ["grey"], voxel_nm, f"section {k}")
    return figure


def depth_workflow(
    coarse: np.ndarray, section: np.ndarray, held: np.ndarray, restored: np.ndarray, n: int
) -> Figure:
    """How a stack learns its depth from its own sections (FIB-SEM, Fig. 1).

    Args:
        coarse: A section with one row in ``n``, each repeated; square, grey in [0, 1].
        section: The same with all its rows.
        held: A plane along the depth with each measured row repeated.
        restored: The same, restored.
        n: Rows to each measured one.
    """
    figure, ax = canvas(3.2, 100, 46)
    bare = {"bar": False}
    pictures = (
        (4, 25, coarse, f"section, 1 row in {n}"),
        (64, 25, section, "section"),
        (4, 2, held, "plane along the depth"),
        (64, 2, restored, "restored"),
    )
    for x, y, image, name in pictures:
        picture(ax, show_slice, (x, y, 17, 17), image, ["grey"], **bare)
        label(ax, x + 8.5, y + 17.5, name)
    box(ax, (34, 28, 18, 11), "train\nthe network", "#0072b2")
    box(ax, (34, 5, 18, 11), "apply it,\nturned upright", "#0072b2")
    for path in (
        [(21, 33.5), (34, 33.5)],
        [(64, 33.5), (52, 33.5)],
        [(43, 28), (43, 16)],
        [(21, 10.5), (34, 10.5)],
        [(52, 10.5), (64, 10.5)],
    ):
        arrow(ax, path)
    ax.text(84, 33.5, "x and y:\nas fine as the\nmicroscope", va="center", color="#666666")
    ax.text(84, 10.5, "x and depth:\none section\nin n measured", va="center", color="#666666")
    return figure
