"""Pictures of labels: slices, panels, cubes, and the inputs beside the output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D

from srlib.viz.fields import (
    centre_crop,
    check_aspect,
    check_labels,
    colour_image,
    entropy_map,
    is_grey,
    same_field,
    slice_at,
)
from srlib.viz.style import PAGE_INCHES, draw_scale_bar, new_figure, phase_legend

_SHADES = (1.0, 0.9, 0.78)


def show_slice(
    ax: Axes,
    labels: np.ndarray,
    phases: Sequence[str],
    voxel_nm: float | None = None,
    title: str = "",
    *,
    width: int | None = None,
    bar: bool = True,
    own_phases: Sequence[str] | None = None,
) -> None:
    """Draw one image of labels, or a grey image, with a scale bar under it.

    Args:
        ax: Axes to draw into; its frame is removed.
        labels: Labels ``(rows, columns)``, or floats in [0, 1] for a grey image.
        phases: Names of all phases of the figure, darkest first.
        voxel_nm: Edge of a pixel of this image in nm; None gives a bar in px.
        title: Text above the image.
        width: Pixels that the field of view counts as, when the image is stretched to match a
            finer one; ``voxel_nm`` is then the edge of such a finer pixel.
        bar: Whether to draw the scale bar.
        own_phases: Names of this image's labels if they are not ``phases``; a two-phase
            low-resolution image takes the colours of the same names.

    Raises:
        ValueError: if the labels do not fit the phases, or hold NaN.
    """
    picture = colour_image(labels, phases, own_phases, title or "the image")
    rows, columns = picture.shape[:2]
    ax.imshow(_crisp(picture), extent=(0, 1, rows / columns, 0), cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
    ax.set_title(title)
    if bar:
        stretched = voxel_nm is None and width not in (None, columns)
        draw_scale_bar(ax, width or columns, voxel_nm, " (fine)" if stretched else "")


def panel(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    phases: Sequence[str],
    voxel_nm: float | None = None,
    *,
    columns: int | None = None,
    own_phases: Sequence[Sequence[str] | None] | None = None,
) -> Figure:
    """Images side by side, all stretched to one field of view, with the same scale bar.

    Args:
        images: Label images, or grey images of floats in [0, 1], all of the same field.
        titles: One for each image.
        phases: Phase names, darkest first.
        voxel_nm: Pixel edge of the finest image in nm; None gives bars in its pixels.
        columns: Images in a row; all of them up to four by default.
        own_phases: For each image, the names of its labels if they are not ``phases``.

    Raises:
        ValueError: if there is not one title for each image or the fields differ in shape.
    """
    images = [np.asarray(image) for image in images]
    own = own_phases or [None] * len(images)
    if not images or not len(images) == len(titles) == len(own):
        raise ValueError(f"Give one title for each image: {len(images)} and {len(titles)} given.")
    finest = max(images, key=lambda image: image.shape[-1])
    for image, title in zip(images, titles, strict=True):
        check_aspect(image, finest, title)
    columns = columns or min(4, len(images))
    rows = -(-len(images) // columns)
    cell = min(PAGE_INCHES / columns, 3.6)
    height = rows * (cell * finest.shape[0] / finest.shape[1] + 0.5) + 0.3
    figure, axes = new_figure(rows, columns, height, max(4.5, columns * cell))
    figure.set_layout_engine("constrained", hspace=0.04)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, image, title, names in zip(axes.flat, images, titles, own, strict=False):
        show_slice(ax, image, phases, voxel_nm, title, width=finest.shape[1], own_phases=names)
    if any(not is_grey(image) for image in images):
        phase_legend(figure, phases)
    return figure


def cube(
    ax: Axes,
    labels: np.ndarray,
    phases: Sequence[str],
    title: str = "",
    *,
    own_phases: Sequence[str] | None = None,
) -> None:
    """Draw three faces of a volume as an isometric cube, shaded by face.

    The top is the first z slice, the left face the last y slice, the right the last x slice;
    z points down.

    Args:
        ax: Axes to draw into; its frame is removed.
        labels: Labels ``(D, H, W)``.
        phases: Phase names of the figure, darkest first.
        title: Text above the cube.
        own_phases: Names of these labels if they are not ``phases``.

    Raises:
        ValueError: if ``labels`` is not a volume of the named phases.
    """
    names = list(own_phases or phases)
    labels = check_labels(labels, len(names), 3, title or "the volume")
    longest = max(labels.shape)
    depth, height, width = (n / longest for n in labels.shape)
    along_x = np.array([np.cos(np.pi / 6), -0.5])
    along_y = np.array([-np.cos(np.pi / 6), -0.5])
    down = np.array([0.0, -1.0])
    front = height * along_y
    faces = (
        (labels[0], np.zeros(2), width * along_x, height * along_y),
        (labels[:, -1, :], front, width * along_x, depth * down),
        (labels[:, :, -1], width * along_x, height * along_y, depth * down),
    )
    for (image, corner, right, below), shade in zip(faces, _SHADES, strict=True):
        picture = colour_image(image, phases, own_phases, title or "the volume")
        picture = _crisp(np.round(picture * shade).astype(np.uint8))
        move = Affine2D(
            np.array([[right[0], below[0], corner[0]], [right[1], below[1], corner[1]], [0, 0, 1]])
        )
        drawn = ax.imshow(picture, extent=(0, 1, 1, 0), transform=move + ax.transData)
        outline = [corner, corner + right, corner + right + below, corner + below]
        edge = Polygon(outline, closed=True, fill=False, edgecolor="black", linewidth=0.8)
        ax.add_patch(edge)
        drawn.set_clip_path(edge)
    span = np.array([[0, 0], width * along_x, front, width * along_x + front])
    low, high = span.min(axis=0) - (0, depth), span.max(axis=0)
    (x, y), half = (low + high) / 2, (high - low).max() / 2 + 0.01
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half))
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(title)


def inputs_and_output(
    hr: np.ndarray,
    lr: np.ndarray,
    sr: np.ndarray,
    phases: Sequence[str],
    *,
    scale_factor: float | None = None,
    voxel_nm: float | None = None,
    lr_phases: Sequence[str] | None = None,
    axis: int = 0,
    position: float = 0.5,
) -> Figure:
    """The arrangement of SuperRes Figs. 1 and 6: two inputs, the output, and their details.

    Top row: the whole high-resolution image, the low-resolution cube stretched to the size of
    the output, the output. Bottom row: the middle of the image, and the slice of each volume at
    the same place.

    Args:
        hr: High-resolution labels ``(rows, columns)``.
        lr: Low-resolution labels ``(d, h, w)``.
        sr: Super-resolution labels ``(D, H, W)``.
        scale_factor: Cuts ``lr`` to the field of an output whose edge was cropped; see
            :func:`same_field`.
        phases: Phase names, darkest first.
        voxel_nm: Voxel edge of ``hr`` and ``sr`` in nm; None gives scale bars in px.
        lr_phases: Names of the labels of ``lr`` if they are not ``phases``.
        axis: Direction of the slices, 0 for z.
        position: Where along ``axis`` the slices lie, 0 to 1.

    Raises:
        ValueError: if a shape does not fit, or ``lr`` and ``sr`` do not show the same field.
    """
    hr = check_labels(hr, len(phases), 2, "hr")
    sr = check_labels(sr, len(phases), 3, "sr")
    lr = check_labels(lr, len(lr_phases or phases), 3, "lr")
    lr = same_field(lr, sr, scale_factor)
    sr_slice, lr_slice = (slice_at(volume, axis, position) for volume in (sr, lr))
    middle = centre_crop(hr, sr_slice.shape)
    figure, axes = new_figure(2, 3, height=6.1)
    figure.set_layout_engine("constrained", hspace=0.04)
    show_slice(axes[0, 0], hr, phases, voxel_nm, f"fine image, {_size(hr)}")
    cube(axes[0, 1], lr, phases, f"coarse volume, {_size(lr)}", own_phases=lr_phases)
    cube(axes[0, 2], sr, phases, f"super-res volume, {_size(sr)}")
    show_slice(axes[1, 0], middle, phases, voxel_nm, "fine image, middle")
    show_slice(
        axes[1, 1],
        lr_slice,
        phases,
        voxel_nm,
        "coarse slice",
        width=sr_slice.shape[1],
        own_phases=lr_phases,
    )
    show_slice(axes[1, 2], sr_slice, phases, voxel_nm, "super-res slice, same place")
    phase_legend(figure, phases)
    return figure


def disagreement(
    samples: np.ndarray,
    phases: Sequence[str],
    *,
    lr: np.ndarray | None = None,
    original: np.ndarray | None = None,
    voxel_nm: float | None = None,
    shown: int = 3,
) -> Figure:
    """Outputs of several noises (SuperRes Figs. 14 and 15) and a map of where they disagree.

    Args:
        samples: Labels ``(m, rows, columns)``, the same slice from ``m`` noises.
        phases: Phase names, darkest first.
        lr: The low-resolution slice of the same field.
        original: The true slice of the same field.
        voxel_nm: Pixel edge of the samples in nm; None gives bars in px.
        shown: How many samples to draw.

    Raises:
        ValueError: as :func:`entropy_map`, or if the fields differ in their proportions.
    """
    entropy = entropy_map(samples, len(phases))
    images = [image for image in (lr, original) if image is not None]
    titles = [t for t, image in (("coarse", lr), ("original", original)) if image is not None]
    images += list(samples[:shown])
    titles += [f"super-res, noise {i}" for i in range(min(shown, len(samples)))]
    columns = 3
    rows = -(-(len(images) + 1) // columns)
    shape = entropy.shape[0] / entropy.shape[1]
    figure, axes = new_figure(rows, columns, height=rows * (2.45 * shape + 0.45) + 0.3)
    figure.set_layout_engine("constrained", hspace=0.04)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        check_aspect(image, entropy, title)
        show_slice(ax, image, phases, voxel_nm, title, width=entropy.shape[1])
    ax = axes.flat[len(images)]
    most = np.log2(min(len(samples), len(phases)))
    drawn = ax.imshow(entropy, cmap="magma", vmin=0, vmax=most, extent=(0, 1, shape, 0))
    ax.set_title(f"disagreement of {len(samples)} noises")
    bar = figure.colorbar(
        drawn, cax=ax.inset_axes((0.58, -0.065, 0.22, 0.035)), orientation="horizontal", ticks=[]
    )
    bar.ax.text(-0.06, 0.5, "0", transform=bar.ax.transAxes, va="center", ha="right", fontsize=9)
    bar.ax.text(1.06, 0.5, f"{most:.2g} bits", transform=bar.ax.transAxes, va="center", fontsize=9)
    draw_scale_bar(ax, entropy.shape[1], voxel_nm)
    phase_legend(figure, phases)
    return figure


def _size(labels: np.ndarray) -> str:
    n = labels.shape
    return f"{n[0]}{'⁰¹²³'[len(n)]}" if len(set(n)) == 1 else "×".join(map(str, n))


def _crisp(picture: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture, so that drawing it only ever makes it smaller."""
    times = -(-1000 // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)
