"""Scroll through grey volumes in space and time: for a static page, and for a live notebook."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from srlib.viz.style import scale_bar

QUALITY = 80  # of the JPEG pictures of a static page; noise as PNG would weigh six times as much
_PANE_PX = {1: 380, 2: 330}
_numbers = itertools.count(1)

_SCRIPT = (
    "const v=this.closest('.series-viewer'),[z,t]=v.querySelectorAll('input'),"
    "k=+t.value*(+z.max+1)+(+z.value),o=this.parentElement.querySelector('output');"
    "v.querySelectorAll('.slice-viewer-pane').forEach(p=>{const d=p.dataset,c=+d.columns;"
    "p.style.backgroundPosition=`${-(k%c)*d.width}px ${-Math.floor(k/c)*d.height}px`;});"
    "o.textContent=o.dataset.labels.split('|')[+this.value];"
    "this.setAttribute('aria-valuetext',o.textContent);"
)


class SeriesViewer:
    """Volumes side by side, a slider for z and one for time; shown without a kernel.

    Attributes:
        sheets: Name -> one JPEG with all slices of all times in a near-square grid, in the order
            time, then z.
        columns: Tiles in a row of a sheet.
    """

    def __init__(
        self,
        series: Mapping[str, np.ndarray],
        times: Sequence[str],
        places: Sequence[str],
        texts: tuple[str, str, float | None],
    ):
        self.times, self.places, self._texts = list(times), list(places), texts
        count = len(self.times) * len(self.places)
        self.columns = int(np.ceil(np.sqrt(count)))
        self.rows = -(-count // self.columns)
        self.tile = next(iter(series.values())).shape[2:]
        self.sheets = {name: self._sheet(_bytes(volumes)) for name, volumes in series.items()}

    def _sheet(self, tiles: np.ndarray) -> bytes:
        tiles = tiles.reshape(-1, *self.tile)
        height, width = self.tile
        sheet = np.zeros((self.rows * height, self.columns * width), np.uint8)
        for index, tile in enumerate(tiles):
            row, column = divmod(index, self.columns)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        return _file(sheet, "JPEG", quality=QUALITY)

    def _repr_html_(self) -> str:
        """A self-contained ``<div class="slice-viewer series-viewer">`` with ids of its own."""
        own, start = f"series-viewer-{next(_numbers)}", len(self.places) // 2
        size = _PANE_PX.get(len(self.sheets), 216)
        alt, caption, voxel_nm = self._texts
        panes = "".join(self._pane(name, sheet, start, size) for name, sheet in self.sheets.items())
        length, text = scale_bar(self.tile[1], voxel_nm)
        bar = (
            '<span aria-hidden="true" style="display:inline-block;height:3px;margin-right:0.4em;'
            f"width:{length / self.tile[1] * size:.1f}px;vertical-align:0.25em;"
            f'background:currentColor"></span>{text}'
        )
        return (
            f'<div class="slice-viewer series-viewer" id="{own}" role="group" '
            f'aria-label="{escape(alt)}" style="margin:1em 0;overflow-x:auto">'
            f'<div style="display:flex;flex-wrap:wrap;gap:12px">{panes}</div>'
            f"{_slider(f'{own}-z', 'Slice along z', self.places, start)}"
            f"{_slider(f'{own}-t', 'Time', self.times, 0)}"
            f'<div style="font-size:0.9em">{bar}</div>'
            f'<div class="srlib-caption">{escape(caption)}</div></div>'
        )

    def _pane(self, name: str, sheet: bytes, start: int, width: int) -> str:
        height = round(width * self.tile[0] / self.tile[1])
        row, column = divmod(start, self.columns)
        data = base64.b64encode(sheet).decode()
        return (
            f'<div style="width:{width}px"><div style="font-size:0.9em;margin-bottom:2px">'
            f'{escape(name)}</div><div class="slice-viewer-pane" role="img" '
            f'aria-label="{escape(name)}: a grey slice" data-columns="{self.columns}" '
            f'data-width="{width}" data-height="{height}" style="width:{width}px;'
            f"height:{height}px;background:url(data:image/jpeg;base64,{data});"
            f"background-size:{self.columns * width}px {self.rows * height}px;"
            f'background-position:{-column * width}px {-row * height}px"></div></div>'
        )

    def __repr__(self) -> str:
        names = ", ".join(self.sheets)
        return f"SeriesViewer of {names}: {len(self.times)} times, {len(self.places)} slices"


def series_viewer(
    series: Mapping[str, np.ndarray],
    times: Sequence[str],
    places: Sequence[str] | None = None,
    *,
    voxel_nm: float | None = None,
    alt: str | None = None,
    caption: str = "",
    max_bytes: int = 1_500_000,
) -> SeriesViewer:
    """A viewer of a 4D series for a static page: no kernel and no network.

    Args:
        series: Name -> grey values in [0, 1], ``(T, D, H, W)``, all of one shape.
        times: Name of each of the T times, e.g. ``"T0"``.
        places: Name of each of the D slices; by default ``"slice 1 of D"``.
        voxel_nm: Pixel edge in nm; None gives the scale bar in px.
        alt: What the viewer shows, for a reader who cannot see it.
        caption: Text under the viewer; end it with :func:`provenance`.
        max_bytes: Limit of the whole viewer in the page.

    Returns:
        An object that a notebook shows by itself.

    Raises:
        ValueError: if there is no volume, shapes, names or grey values do not fit, or the viewer is
            too heavy.
    """
    checked, places = _check(series, times, places)
    texts = (alt or f"4D viewer: {', '.join(checked)}", caption, voxel_nm)
    viewer = SeriesViewer(checked, times, places, texts)
    weight = sum(map(len, viewer.sheets.values())) * 4 // 3 + 8_000
    if weight > max_bytes:
        raise ValueError(
            f"The viewer would weigh {weight / 1e6:.1f} MB: give fewer slices, or crop them."
        )
    return viewer


def live_series_viewer(
    series: Mapping[str, np.ndarray], times: Sequence[str], places: Sequence[str] | None = None
) -> Any:
    """An ipywidgets viewer of a 4D series for a live notebook, without loss by compression.

    Args:
        series: As in :func:`series_viewer`, as are ``times``, ``places`` and the errors.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    checked, places = _check(series, times, places)
    tiles = {name: _bytes(volumes) for name, volumes in checked.items()}
    along = widgets.SelectionSlider(
        options=[(name, k) for k, name in enumerate(places)],
        value=len(places) // 2,
        description="z",
    )
    when = widgets.SelectionSlider(
        options=[(name, k) for k, name in enumerate(times)], description="time"
    )
    panes = widgets.HTML()
    size = _PANE_PX.get(len(checked), 216)

    def draw(_=None) -> None:
        cells = []
        for name, volumes in tiles.items():
            data = base64.b64encode(_file(volumes[when.value, along.value], "PNG")).decode()
            alt = escape(f"{name}: {places[along.value]}, {times[when.value]}")
            cells.append(
                f'<div><div>{escape(name)}</div><img alt="{alt}" style="width:{size}px" '
                f'src="data:image/png;base64,{data}"></div>'
            )
        panes.value = f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cells)}</div>'

    for slider in (along, when):
        slider.observe(draw, names="value")
    draw()
    return widgets.VBox([along, when, panes])


def _slider(own: str, title: str, labels: Sequence[str], start: int) -> str:
    first = escape(labels[start])
    return (
        f'<div style="margin:0.4em 0"><label for="{own}">{title}: </label>'
        f'<input type="range" id="{own}" min="0" max="{len(labels) - 1}" value="{start}" step="1" '
        'autocomplete="off" style="width:min(320px,60%);vertical-align:middle" '
        f'aria-valuetext="{first}" oninput="{escape(_SCRIPT)}"> '
        f'<output for="{own}" data-labels="{escape("|".join(labels))}" '
        f'style="font-variant-numeric:tabular-nums">{first}</output></div>'
    )


def _check(
    series: Mapping[str, np.ndarray], times: Sequence[str], places: Sequence[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    if not series:
        raise ValueError("A viewer needs at least one volume.")
    checked = {name: np.asarray(volumes) for name, volumes in series.items()}
    shape = _check_shapes(checked)
    names = list(places or (f"slice {k + 1} of {shape[1]}" for k in range(shape[1])))
    if len(times) != shape[0] or len(names) != shape[1]:
        raise ValueError(
            f"There are {shape[0]} times and {shape[1]} slices, but {len(times)} and {len(names)} "
            "names of them."
        )
    if any("|" in name for name in (*times, *names)):
        raise ValueError("Names of times and slices should have no '|'.")
    return checked, names


def _check_shapes(series: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """The one shape of all series, whose values are in [0, 1]."""
    first, shape = next((name, volumes.shape) for name, volumes in series.items())
    for name, volumes in series.items():
        if volumes.ndim != 4 or not volumes.size:
            raise ValueError(f"{name} is {volumes.shape}: a series is (T, D, H, W), not empty.")
        if volumes.shape != shape:
            raise ValueError(f"{name} is {volumes.shape}, but {first} is {shape}.")
        if not (np.isfinite(volumes).all() and volumes.min() >= 0 and volumes.max() <= 1):
            raise ValueError(f"{name} should hold grey values between 0 and 1.")
    return shape


def _bytes(grey: np.ndarray) -> np.ndarray:
    return np.rint(255 * grey).astype(np.uint8)


def _file(image: np.ndarray, kind: str, **options: int) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, format=kind, **options)
    return memory.getvalue()
