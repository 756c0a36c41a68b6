"""Scroll through volumes, in space and in time: for a static page, and for a live notebook."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from srlib.viz.fields import check_labels, palette, same_field, slice_at
from srlib.viz.style import scale_bar

QUALITY = 80  # of the JPEG pictures of a grey series; noise as PNG would weigh six times as much
_numbers = itertools.count(1)
_PANE_PX = {1: 380, 2: 330, 4: 330}
_PIXELS = "image-rendering:pixelated;"
_ROW = '<div style="display:flex;flex-wrap:wrap;gap:{}">{}</div>'

_SCRIPT = (
    "const v=this.closest('.slice-viewer'),o=this.parentElement.querySelector('output'),"
    "k=[...v.querySelectorAll('input')].reduceRight((k,i)=>k*(+i.max+1)+(+i.value),0);"
    "v.querySelectorAll('.slice-viewer-pane').forEach(p=>{const d=p.dataset,c=+d.columns,"
    "f=d.frames.split(',')[k];p.style.backgroundPosition="
    "`${-(f%c)*d.width}px ${-Math.floor(f/c)*d.height}px`;});"
    "o.textContent=o.dataset.labels.split('|')[+this.value];"
    "this.setAttribute('aria-valuetext',o.textContent);"
)


class Sheet:
    """Slices of one volume in one picture, laid out in a near-square grid.

    Args:
        tiles: ``(n, rows, columns)`` bytes: labels, or grey values.
        frames: For each position of the sliders, the index of its tile.
        colours: RGB bytes of each label; None for grey values.

    Attributes:
        frames: As above.
        tile: Rows and columns of a tile in pixels.
        columns: Tiles in a row.
        rows: Rows of tiles.
        file: Indexed PNG of labels, JPEG of grey values.
    """

    def __init__(
        self, tiles: np.ndarray, frames: Iterable[int], colours: np.ndarray | None = None
    ) -> None:
        self.frames, self.tile = list(frames), tiles.shape[1:]
        self.columns = int(np.ceil(np.sqrt(len(tiles))))
        self.rows = -(-len(tiles) // self.columns)
        height, width = self.tile
        sheet = np.zeros((self.rows * self.columns, height, width), np.uint8)
        sheet[: len(tiles)] = tiles
        grid = sheet.reshape(self.rows, self.columns, height, width).swapaxes(1, 2)
        picture = grid.reshape(self.rows * height, self.columns * width)
        self.labels = colours is not None
        self.file = _file(picture, "JPEG", quality=QUALITY)
        if colours is not None:
            self.file = _indexed_png(picture, colours)

    def pane(self, title: str, text: str, frame: int, width: int) -> str:
        """The HTML of a window of ``width`` pixels on one tile."""
        height = round(width * self.tile[0] / self.tile[1])
        row, column = divmod(frame, self.columns)
        kind, rendering = ("png", _PIXELS) if self.labels else ("jpeg", "")
        return (
            f'<div style="width:{width}px"><div style="font-size:0.9em;margin-bottom:2px">'
            f'{escape(title)}</div><div class="slice-viewer-pane" role="img" '
            f'aria-label="{escape(f"{title}: {text}")}" '
            f'data-frames="{",".join(map(str, self.frames))}" data-columns="{self.columns}" '
            f'data-width="{width}" data-height="{height}" '
            f'style="width:{width}px;height:{height}px;{rendering}'
            f"background:url(data:image/{kind};base64,{base64.b64encode(self.file).decode()});"
            f"background-size:{self.columns * width}px {self.rows * height}px;"
            f'background-position:{-column * width}px {-row * height}px"></div></div>'
        )


class Viewer:
    """Volumes side by side with sliders; shown by ``_repr_html_`` without a kernel.

    Args:
        sheets: Name -> slices.
        sliders: Title, names of the positions, and where to start; the first one runs fastest.
        phases: Their names for a legend, darkest first; none for grey values.
        texts: What the viewer shows, its caption, and the voxel edge in nm.
    """

    def __init__(
        self,
        sheets: Mapping[str, Sheet],
        sliders: Sequence[tuple[str, Sequence[str], int]],
        phases: Sequence[str],
        texts: tuple[str, str, float | None],
    ) -> None:
        self.sheets, self.sliders = dict(sheets), list(sliders)
        self._phases, self._texts = list(phases), texts
        self.weight = sum(len(sheet.file) for sheet in sheets.values()) * 4 // 3 + 8_000

    def _repr_html_(self) -> str:
        """A self-contained ``<div class="slice-viewer">``; each call has ids of its own."""
        own = f"slice-viewer-{next(_numbers)}"
        size = _PANE_PX.get(len(self.sheets), 216)
        alt, caption, voxel_nm = self._texts
        text = "a grey slice"
        if self._phases:
            text = f"slice through a volume of {', '.join(self._phases)}"
        start = self.sliders[0][2]  # the others start at 0
        panes = "".join(
            sheet.pane(name, text, sheet.frames[start], size) for name, sheet in self.sheets.items()
        )
        sliders = "".join(_slider(f"{own}-{k}", *s) for k, s in enumerate(self.sliders))
        legend = self._bar(size, voxel_nm) + _swatches(self._phases)
        return (
            f'<div class="slice-viewer" id="{own}" role="group" aria-label="{escape(alt)}" '
            f'style="margin:1em 0;overflow-x:auto">{_ROW.format("12px", panes)}{sliders}'
            f'<div style="font-size:0.9em">{_ROW.format("1.2em", legend)}</div>'
            f'<div class="srlib-caption">{escape(caption)}</div></div>'
        )

    def _bar(self, size: int, voxel_nm: float | None) -> str:
        width = max(sheet.tile[1] for sheet in self.sheets.values())
        length, text = scale_bar(width, voxel_nm)
        return (
            '<span style="white-space:nowrap"><span aria-hidden="true" style="display:inline-block;'
            f"width:{length / width * size:.1f}px;height:3px;margin-right:0.4em;"
            f'vertical-align:0.25em;background:currentColor"></span>{text}</span>'
        )

    def __repr__(self) -> str:
        counts = " x ".join(str(len(labels)) for _, labels, _ in self.sliders)
        return f"Viewer of {', '.join(self.sheets)}: {counts} slices"


def slice_viewer(
    volumes: Mapping[str, np.ndarray],
    phases: Sequence[str],
    axis: int = 0,
    *,
    scale_factor: float | None = None,
    voxel_nm: float | None = None,
    own_phases: Mapping[str, Sequence[str]] | None = None,
    alt: str | None = None,
    caption: str = "",
    frames: int = 64,
    max_bytes: int = 1_500_000,
) -> Viewer:
    """A viewer for a static page: volumes side by side, one slider, no kernel and no network.

    A coarser volume is stretched, and the slider moves all volumes to the same place.

    Args:
        volumes: Name -> labels ``(D, H, W)``.
        phases: Phase names, darkest first.
        axis: Direction to scroll, 0 for z.
        scale_factor: Cuts the volumes to the field of the smallest of the finest, e.g. of an
            output whose edge was cropped; see :func:`same_field`.
        voxel_nm: Voxel edge of the finest volume in nm; None gives the scale bar in its px.
        own_phases: Volume name -> names of its labels if they are not ``phases``.
        alt: What the viewer shows, for a reader who cannot see it.
        caption: Text under the viewer; end it with :meth:`srlib.results.Run.provenance`.
        frames: Slider steps at most; fewer when the pictures would exceed ``max_bytes``.
        max_bytes: Limit of the whole viewer in the page.

    Returns:
        An object that a notebook shows by itself.

    Raises:
        ValueError: if there is no volume, one does not fit its phases, the fields of view
            differ, or the viewer cannot be made small enough.
    """
    own = dict(own_phases or {})
    if axis not in (0, 1, 2):
        raise ValueError(f"axis={axis} should be 0 (z), 1 (y) or 2 (x).")
    checked = _check_volumes(volumes, phases, own, scale_factor)
    texts = (alt or f"Slice viewer: {', '.join(checked)}", caption, voxel_nm)
    depth = max(volume.shape[axis] for volume in checked.values())
    frames = min(max(1, frames), depth)
    while True:
        slices = [int((step + 0.5) * depth / frames) for step in range(frames)]
        sheets = {
            name: _label_sheet(
                volume, palette(phases, own.get(name)), axis, [(k + 0.5) / depth for k in slices]
            )
            for name, volume in checked.items()
        }
        names = [f"slice {k + 1} of {depth}" for k in slices]
        slider = (f"Slice along {'zyx'[axis]}", names, frames // 2)
        viewer = Viewer(sheets, [slider], phases, texts)
        if viewer.weight <= max_bytes:
            return viewer
        if frames <= 4:
            raise ValueError(
                f"The viewer would weigh {viewer.weight / 1e6:.1f} MB: crop the volumes, e.g. to "
                "volume[:, :256, :256]."
            )
        frames = max(4, min(frames - 1, int(0.9 * frames * max_bytes / viewer.weight)))


def series_viewer(
    series: Mapping[str, np.ndarray],
    times: Sequence[str],
    places: Sequence[str] | None = None,
    *,
    voxel_nm: float | None = None,
    alt: str | None = None,
    caption: str = "",
    max_bytes: int = 1_500_000,
) -> Viewer:
    """The same of a grey 4D series: one slider for z, one for time.

    Args:
        series: Name -> grey values in [0, 1], ``(T, D, H, W)``, all of one shape.
        times: Name of each of the T times, e.g. ``"T0"``.
        places: Name of each of the D slices; by default ``"slice 1 of D"``.
        voxel_nm, alt, caption, max_bytes: As in :func:`slice_viewer`.

    Returns:
        An object that a notebook shows by itself.

    Raises:
        ValueError: if there is no volume, shapes, names or grey values do not fit, or the viewer is
            too heavy.
    """
    checked, places = _check_series(series, times, places)
    texts = (alt or f"4D viewer: {', '.join(checked)}", caption, voxel_nm)
    sheets = {}
    for name, volumes in checked.items():
        tiles = volumes.reshape(-1, *volumes.shape[2:])
        sheets[name] = Sheet(tiles, range(len(tiles)))
    sliders = [("Slice along z", places, len(places) // 2), ("Time", times, 0)]
    viewer = Viewer(sheets, sliders, (), texts)
    if viewer.weight > max_bytes:
        raise ValueError(
            f"The viewer would weigh {viewer.weight / 1e6:.1f} MB: give fewer slices, or crop them."
        )
    return viewer


def live_viewer(
    volumes: Mapping[str, np.ndarray],
    phases: Sequence[str],
    *,
    scale_factor: float | None = None,
    own_phases: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """An ipywidgets viewer for a live notebook: slice slider and direction menu.

    Args:
        volumes, phases, scale_factor, own_phases: As in :func:`slice_viewer`, as are the errors.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    own = dict(own_phases or {})
    checked = _check_volumes(volumes, phases, own, scale_factor)
    menu = widgets.Dropdown(options=[("z", 0), ("y", 1), ("x", 2)], description="normal")
    slider = widgets.IntSlider(description="slice", continuous_update=True)

    def depth() -> int:
        return max(volume.shape[menu.value] for volume in checked.values())

    def slice_of(name: str) -> tuple[str, bytes]:
        image = slice_at(checked[name], menu.value, (slider.value - 0.5) / depth())
        text = f"slice {slider.value} of {depth()} along {'zyx'[menu.value]}"
        return text, _indexed_png(image, palette(phases, own.get(name)))

    panes, draw = _live_panes(checked, slice_of, _PIXELS)

    def turn(_: object = None) -> None:
        slider.min, slider.max = 1, depth()
        slider.value = (depth() + 1) // 2
        draw()

    menu.observe(turn, names="value")
    slider.observe(draw, names="value")
    turn()
    return widgets.VBox([widgets.HBox([menu, slider]), panes])


def live_series_viewer(
    series: Mapping[str, np.ndarray], times: Sequence[str], places: Sequence[str] | None = None
) -> Any:
    """An ipywidgets viewer of a 4D series for a live notebook, without loss by compression.

    Args:
        series, times, places: As in :func:`series_viewer`, as are the errors.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    checked, places = _check_series(series, times, places)
    along, when = (
        widgets.SelectionSlider(
            options=[(name, k) for k, name in enumerate(names)], value=start, description=title
        )
        for title, names, start in (("z", places, len(places) // 2), ("time", times, 0))
    )

    def slice_of(name: str) -> tuple[str, bytes]:
        image = checked[name][when.value, along.value]
        return f"{places[along.value]}, {times[when.value]}", _file(image, "PNG")

    panes, draw = _live_panes(checked, slice_of)
    for slider in (along, when):
        slider.observe(draw, names="value")
    draw()
    return widgets.VBox([along, when, panes])


def _live_panes(
    names: Iterable[str], slice_of: Callable[[str], tuple[str, bytes]], rendering: str = ""
) -> tuple[Any, Callable]:
    """A widget for the slices side by side, and a function that draws them anew."""
    import ipywidgets as widgets

    panes, names = widgets.HTML(), list(names)
    size = _PANE_PX.get(len(names), 216)

    def draw(_: Any = None) -> None:
        cells = []
        for name in names:
            text, png = slice_of(name)
            cells.append(
                f'<div><div>{escape(name)}</div><img alt="{escape(f"{name}: {text}")}" '
                f'style="width:{size}px;{rendering}" '
                f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div>'
            )
        panes.value = _ROW.format("12px", "".join(cells))

    return panes, draw


def _slider(own: str, title: str, labels: Sequence[str], start: int) -> str:
    first = escape(labels[start])
    return (
        f'<div style="margin:0.5em 0"><label for="{own}">{escape(title)}: </label>'
        f'<input type="range" id="{own}" min="0" max="{len(labels) - 1}" value="{start}" step="1" '
        'autocomplete="off" style="width:min(320px,60%);vertical-align:middle" '
        f'aria-valuetext="{first}" oninput="{escape(_SCRIPT)}"> '
        f'<output for="{own}" data-labels="{escape("|".join(labels))}" '
        f'style="font-variant-numeric:tabular-nums">{first}</output></div>'
    )


def _swatches(phases: Sequence[str]) -> str:
    colours = palette(phases).tolist() if phases else []
    return "".join(
        '<span style="white-space:nowrap"><span aria-hidden="true" style="display:inline-block;'
        "width:0.9em;height:0.9em;border:1px solid #777;margin-right:0.35em;"
        f'vertical-align:-0.1em;background:rgb({r},{g},{b})"></span>{escape(phase)}</span>'
        for phase, (r, g, b) in zip(phases, colours, strict=True)
    )


def _label_sheet(
    volume: np.ndarray, colours: np.ndarray, axis: int, positions: Sequence[float]
) -> Sheet:
    """The slices at some positions from 0 to 1; those inside one coarse voxel share a tile."""
    depth = volume.shape[axis]
    slices = [min(depth - 1, int(position * depth)) for position in positions]
    kept = sorted(set(slices))
    return Sheet(np.moveaxis(volume, axis, 0)[kept], [kept.index(k) for k in slices], colours)


def _check_volumes(
    volumes: Mapping[str, np.ndarray],
    phases: Sequence[str],
    own: Mapping[str, Sequence[str]],
    scale_factor: float | None,
) -> dict[str, np.ndarray]:
    if not volumes:
        raise ValueError("A viewer needs at least one volume.")
    if unknown := set(own) - set(volumes):
        raise ValueError(f"own_phases names {sorted(unknown)[0]!r}, which is not a volume.")
    checked = {
        name: check_labels(volume, len(own.get(name, phases)), 3, name)
        for name, volume in volumes.items()
    }
    largest = max(volume.shape[0] for volume in checked.values())
    fine = [v for v in checked.values() if v.shape[0] >= largest / float(scale_factor or 1) ** 0.5]
    finest = min(fine, key=lambda volume: volume.size)
    return {name: same_field(volume, finest, scale_factor) for name, volume in checked.items()}


def _check_series(
    series: Mapping[str, np.ndarray], times: Sequence[str], places: Sequence[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Series as bytes, all of one shape, and the names of their slices."""
    if not series:
        raise ValueError("A viewer needs at least one volume.")
    checked = {name: np.asarray(volumes) for name, volumes in series.items()}
    first, shape = next((name, volumes.shape) for name, volumes in checked.items())
    for name, volumes in checked.items():
        if volumes.ndim != 4 or not volumes.size:
            raise ValueError(f"{name} is {volumes.shape}: a series is (T, D, H, W), not empty.")
        if volumes.shape != shape:
            raise ValueError(f"{name} is {volumes.shape}, but {first} is {shape}.")
        if not (np.isfinite(volumes).all() and volumes.min() >= 0 and volumes.max() <= 1):
            raise ValueError(f"{name} should hold grey values between 0 and 1.")
    names = list(places or (f"slice {k + 1} of {shape[1]}" for k in range(shape[1])))
    if len(times) != shape[0] or len(names) != shape[1]:
        raise ValueError(
            f"There are {shape[0]} times and {shape[1]} slices, but {len(times)} and {len(names)} "
            "names of them."
        )
    if any("|" in name for name in (*times, *names)):
        raise ValueError("Names of times and slices should have no '|'.")
    return {name: np.rint(255 * v).astype(np.uint8) for name, v in checked.items()}, names


def _indexed_png(labels: np.ndarray, colours: np.ndarray) -> bytes:
    bits = 2 if len(colours) <= 4 else 4
    return _file(labels, "PNG", colours.tobytes(), optimize=True, bits=bits)


def _file(image: np.ndarray, kind: str, colours: bytes | None = None, **options: Any) -> bytes:
    picture = Image.fromarray(image)
    if colours:
        picture.putpalette(colours)
    memory = io.BytesIO()
    picture.save(memory, format=kind, **options)
    return memory.getvalue()
