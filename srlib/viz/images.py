"""Pictures of labels: slices, panels, cubes, and the inputs beside the output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D

from srlib.viz.style import (
    check_labels,
    draw_scale_bar,
    new_figure,
    phase_colours,
    phase_legend,
)

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
    ax.imshow(picture, extent=(0, 1, rows / columns, 0), cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
    ax.set_title(title)
    if bar:
        draw_scale_bar(ax, width or columns, voxel_nm, 1.0)


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
    cell = 7.5 / columns
    height = rows * (cell * finest.shape[0] / finest.shape[1] + 0.35) + 0.35
    figure, axes = new_figure(rows, columns, height=height)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, image, title, names in zip(axes.flat, images, titles, own, strict=False):
        show_slice(ax, image, phases, voxel_nm, title, width=finest.shape[1], own_phases=names)
    if any(not _is_grey(image) for image in images):
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
        picture = np.round(picture * shade).astype(np.uint8)
        move = Affine2D(
            np.array([[right[0], below[0], corner[0]], [right[1], below[1], corner[1]], [0, 0, 1]])
        )
        drawn = ax.imshow(picture, extent=(0, 1, 1, 0), transform=move + ax.transData)
        outline = [corner, corner + right, corner + right + below, corner + below]
        edge = Polygon(outline, closed=True, fill=False, edgecolor="black", linewidth=0.8)
        ax.add_patch(edge)
        drawn.set_clip_path(edge)
    span = np.array([[0, 0], width * along_x, front, width * along_x + front])
    ax.set_xlim(span[:, 0].min() - 0.02, span[:, 0].max() + 0.02)
    ax.set_ylim(span[:, 1].min() - depth - 0.02, 0.02)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(title)


def inputs_and_output(
    hr: np.ndarray,
    lr: np.ndarray,
    sr: np.ndarray,
    phases: Sequence[str],
    *,
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
        lr: Low-resolution labels ``(d, h, w)`` of the same field as ``sr``
            (see :func:`same_field` for an output whose edge was cropped).
        sr: Super-resolution labels ``(D, H, W)``.
        phases: Phase names, darkest first.
        voxel_nm: Voxel edge of ``hr`` and ``sr`` in nm; None gives scale bars in px.
        lr_phases: Names of the labels of ``lr`` if they are not ``phases``.
        axis: Direction of the slices, 0 for z.
        position: Where along ``axis`` the slices lie, 0 to 1.

    Raises:
        ValueError: if a shape does not fit, or ``lr`` and ``sr`` differ in their proportions.
    """
    hr = check_labels(hr, len(phases), 2, "hr")
    sr = check_labels(sr, len(phases), 3, "sr")
    lr = check_labels(lr, len(lr_phases or phases), 3, "lr")
    sr_slice, lr_slice = (slice_at(volume, axis, position) for volume in (sr, lr))
    check_aspect(lr_slice, sr_slice, "lr")
    middle = centre_crop(hr, sr_slice.shape)
    figure, axes = new_figure(2, 3, height=5.7)
    show_slice(axes[0, 0], hr, phases, voxel_nm, "high-res image")
    cube(axes[0, 1], lr, phases, "low-res volume", own_phases=lr_phases)
    cube(axes[0, 2], sr, phases, "super-res volume")
    show_slice(axes[1, 0], middle, phases, voxel_nm, "high-res, middle")
    show_slice(
        axes[1, 1],
        lr_slice,
        phases,
        voxel_nm,
        "low-res slice",
        width=sr_slice.shape[1],
        own_phases=lr_phases,
    )
    show_slice(axes[1, 2], sr_slice, phases, voxel_nm, "super-res slice, same place")
    phase_legend(figure, phases)
    return figure


def same_field(lr: np.ndarray, sr: np.ndarray, scale_factor: float) -> np.ndarray:
    """The part of ``lr`` that ``sr`` covers, when inference cropped whole LR voxels off its edge.

    Raises:
        ValueError: if no crop of equally many LR voxels from every face fits.
    """
    for crop in range(min(lr.shape) // 2):
        inner = lr[(slice(crop, -crop or None),) * lr.ndim]
        if all(
            abs(fine / float(scale_factor) - coarse) < 0.51
            for fine, coarse in zip(sr.shape, inner.shape, strict=True)
        ):
            return inner
    raise ValueError(
        f"sr {sr.shape} is not lr {lr.shape} times {float(scale_factor):g} with an edge cropped."
    )


def centre_crop(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The middle of an image or volume, at most ``shape`` in size."""
    starts = [max(0, (n - want) // 2) for n, want in zip(image.shape, shape, strict=True)]
    return image[tuple(slice(s, s + want) for s, want in zip(starts, shape, strict=True))]


def slice_at(volume: np.ndarray, axis: int, position: float) -> np.ndarray:
    """The slice of ``volume`` normal to ``axis`` at a fraction ``position`` of its depth.

    Raises:
        ValueError: if ``axis`` is not 0, 1 or 2 or ``position`` is outside 0 to 1.
    """
    if axis not in (0, 1, 2) or not 0 <= position <= 1:
        raise ValueError(f"Give axis 0, 1 or 2 and a position 0 to 1, not {axis} and {position}.")
    depth = volume.shape[axis]
    return np.take(volume, min(depth - 1, int(position * depth)), axis=axis)


def entropy_map(samples: np.ndarray, n_phases: int) -> np.ndarray:
    """How much several outputs disagree, voxel by voxel.

    Args:
        samples: Labels ``(m, rows, columns)`` of one slice made with ``m`` noises.
        n_phases: Number of phases.

    Returns:
        Entropy in bits ``(rows, columns)``: 0 where all agree, at most ``log2(min(m, n_phases))``
        where all phases come up equally often.

    Raises:
        ValueError: if there are fewer than two samples, or unknown labels.
    """
    samples = check_labels(samples, n_phases, 3, "samples")
    if len(samples) < 2:
        raise ValueError("Disagreement needs at least two samples of the same slice.")
    shares = np.stack([(samples == phase).mean(axis=0) for phase in range(n_phases)])
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=0) + 0.0


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
    titles = [t for t, image in (("low-res", lr), ("original", original)) if image is not None]
    images += list(samples[:shown])
    titles += [f"super-res, noise {i + 1}" for i in range(min(shown, len(samples)))]
    columns = 3
    rows = -(-(len(images) + 1) // columns)
    rows_px, width = entropy.shape
    figure, axes = new_figure(rows, columns, height=rows * (2.4 * rows_px / width + 0.4) + 0.3)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        check_aspect(image, entropy, title)
        show_slice(ax, image, phases, voxel_nm, title, width=width)
    ax = axes.flat[len(images)]
    top = np.log2(min(len(samples), len(phases)))
    drawn = ax.imshow(entropy, cmap="magma", vmin=0, vmax=top, extent=(0, 1, rows_px / width, 0))
    ax.set_title(f"disagreement of {len(samples)} noises")
    draw_scale_bar(ax, width, voxel_nm, 1.0)
    figure.colorbar(drawn, ax=ax, label="entropy (bits)", shrink=0.85, pad=0.02)
    phase_legend(figure, phases)
    return figure


def colour_image(
    labels: np.ndarray, phases: Sequence[str], own_phases: Sequence[str] | None, name: str
) -> np.ndarray:
    """Labels as RGB bytes ``(rows, columns, 3)``; a grey image comes back as it is.

    Raises:
        ValueError: if the labels do not fit, or a name of ``own_phases`` is not in ``phases``.
    """
    array = np.asarray(labels)
    if _is_grey(array):
        if array.ndim != 2 or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError(f"{name} should be a 2D grey image with values between 0 and 1.")
        return array
    names = list(own_phases or phases)
    array = check_labels(array, len(names), 2, name)
    return palette(phases, own_phases)[array]


def palette(phases: Sequence[str], own_phases: Sequence[str] | None = None) -> np.ndarray:
    """RGB bytes of each label ``(n, 3)``; ``own_phases`` take the colours of their names.

    Raises:
        ValueError: if a name of ``own_phases`` is not in ``phases``.
    """
    colours = np.round(255 * np.array(phase_colours(len(phases)))).astype(np.uint8)
    if own_phases is None:
        return colours
    unknown = [name for name in own_phases if name not in phases]
    if unknown:
        raise ValueError(f"The phase {unknown[0]!r} is not one of {', '.join(phases)}.")
    return colours[[list(phases).index(name) for name in own_phases]]


def check_aspect(image: np.ndarray, finest: np.ndarray, name: str) -> None:
    """Refuse an image whose proportions are not those of ``finest``."""
    if image.ndim != 2 or finest.ndim != 2:
        raise ValueError(f"{name or 'the image'} has shape {image.shape}; give a 2D slice.")
    ratio = image.shape[0] / image.shape[1] * finest.shape[1] / finest.shape[0]
    if abs(ratio - 1) > 0.03:
        raise ValueError(
            f"{name or 'the image'} {image.shape} does not show the same field as {finest.shape}: "
            "crop one of them (viz.same_field, viz.centre_crop)."
        )


def _is_grey(image: np.ndarray) -> bool:
    return np.issubdtype(np.asarray(image).dtype, np.floating)
