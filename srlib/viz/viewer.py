"""Scroll through volumes: a viewer for a static page, and one for a live notebook."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from srlib.viz.fields import check_labels, palette, same_field, slice_at
from srlib.viz.style import scale_bar

_numbers = itertools.count(1)
_PANE_PX = {1: 380, 2: 330, 4: 330}

_SCRIPT = (
    "const v=this.closest('.slice-viewer'),k=+this.value,o=v.querySelector('output');"
    "v.querySelectorAll('.slice-viewer-pane').forEach(p=>{const d=p.dataset,c=+d.columns,"
    "f=d.frames.split(',')[k];p.style.backgroundPosition="
    "`${-(f%c)*d.width}px ${-Math.floor(f/c)*d.height}px`;});"
    "o.textContent=o.dataset.labels.split('|')[k];this.setAttribute('aria-valuetext',o.textContent);"
)


class SliceViewer:
    """Volumes side by side with one slider; shown by ``_repr_html_`` without a kernel."""

    def __init__(
        self,
        volumes: Mapping[str, np.ndarray],
        phases: Sequence[str],
        own_phases: Mapping[str, Sequence[str]],
        axis: int,
        frames: int,
        max_bytes: int,
        texts: tuple[str, str, float | None],
    ):
        self._phases, self._axis, self._texts = list(phases), axis, texts
        self.sprites: dict[str, Sprite] = {}
        self.depth = depth = max(volume.shape[axis] for volume in volumes.values())
        frames = min(frames, depth)
        while True:
            self.slices = [int((step + 0.5) * depth / frames) for step in range(frames)]
            positions = [(k + 0.5) / depth for k in self.slices]
            self.sprites = {
                name: Sprite(volume, palette(phases, own_phases.get(name)), axis, positions)
                for name, volume in volumes.items()
            }
            weight = sum(len(sprite.png) for sprite in self.sprites.values()) * 4 // 3 + 8_000
            if weight <= max_bytes:
                return
            if frames <= 4:
                raise ValueError(
                    f"The viewer would weigh {weight / 1e6:.1f} MB: crop the volumes, e.g. to "
                    "volume[:, :256, :256]."
                )
            frames = max(4, min(frames - 1, int(0.9 * frames * max_bytes / weight)))

    def _repr_html_(self) -> str:
        """A self-contained ``<div class="slice-viewer">``; each call has ids of its own."""
        own = f"slice-viewer-{next(_numbers)}"
        letter = "zyx"[self._axis]
        labels = [f"slice {k + 1} of {self.depth}" for k in self.slices]
        start = len(labels) // 2
        size = _PANE_PX.get(len(self.sprites), 216)
        panes = "".join(
            self._pane(name, sprite, start, size) for name, sprite in self.sprites.items()
        )
        alt, caption, voxel_nm = self._texts
        swatches = self._bar(size, voxel_nm) + "".join(
            '<span style="white-space:nowrap"><span aria-hidden="true" style="display:inline-block;'
            "width:0.9em;height:0.9em;border:1px solid #777;margin-right:0.35em;"
            f'vertical-align:-0.1em;background:rgb({r},{g},{b})"></span>{escape(phase)}</span>'
            for phase, (r, g, b) in zip(self._phases, palette(self._phases).tolist(), strict=True)
        )
        return (
            f'<div class="slice-viewer" id="{own}" role="group" aria-label="{escape(alt)}" '
            'style="margin:1em 0;overflow-x:auto">'
            f'<div style="display:flex;flex-wrap:wrap;gap:12px">{panes}</div>'
            f'<div style="margin:0.5em 0"><label for="{own}-range">Slice along {letter}: </label>'
            f'<input type="range" id="{own}-range" min="0" max="{len(labels) - 1}" value="{start}" '
            'step="1" autocomplete="off" style="width:min(320px,60%);vertical-align:middle" '
            f'aria-valuetext="{labels[start]}" oninput="{escape(_SCRIPT)}"> '
            f'<output for="{own}-range" data-labels="{"|".join(labels)}" '
            f'style="font-variant-numeric:tabular-nums">{labels[start]}</output></div>'
            f'<div style="display:flex;flex-wrap:wrap;gap:1.2em;font-size:0.9em">{swatches}</div>'
            f'<div class="srlib-caption">{escape(caption)}</div></div>'
        )

    def _bar(self, size: int, voxel_nm: float | None) -> str:
        width = max(sprite.tile[1] for sprite in self.sprites.values())
        length, text = scale_bar(width, voxel_nm)
        return (
            '<span style="white-space:nowrap"><span aria-hidden="true" style="display:inline-block;'
            f"width:{length / width * size:.1f}px;height:3px;margin-right:0.4em;"
            f'vertical-align:0.25em;background:currentColor"></span>{text}</span>'
        )

    def _pane(self, name: str, sprite: Sprite, start: int, width: int) -> str:
        height = round(width * sprite.tile[0] / sprite.tile[1])
        frame = sprite.frames[start]
        row, column = divmod(frame, sprite.columns)
        text = f"{name}: slice through a volume of {', '.join(self._phases)}"
        data = base64.b64encode(sprite.png).decode()
        return (
            f'<div style="width:{width}px"><div style="font-size:0.9em;margin-bottom:2px">'
            f'{escape(name)}</div><div class="slice-viewer-pane" role="img" '
            f'aria-label="{escape(text)}" data-frames="{",".join(map(str, sprite.frames))}" '
            f'data-columns="{sprite.columns}" data-width="{width}" data-height="{height}" '
            f'style="width:{width}px;height:{height}px;image-rendering:pixelated;'
            f"background:url(data:image/png;base64,{data});"
            f"background-size:{sprite.columns * width}px {sprite.rows * height}px;"
            f'background-position:{-column * width}px {-row * height}px"></div></div>'
        )

    def __repr__(self) -> str:
        return f"SliceViewer of {', '.join(self.sprites)}: {len(self.slices)} slices"


class Sprite:
    """The slices of one volume in one indexed PNG, laid out in a near-square grid.

    Attributes:
        frames: For each slider step, the index of its tile; steps inside one coarse voxel share it.
        tile: Rows and columns of a tile in pixels.
        columns: Tiles in a row.
        rows: Rows of tiles.
        png: The file.
    """

    def __init__(
        self, volume: np.ndarray, colours: np.ndarray, axis: int, positions: Sequence[float]
    ):
        depth = volume.shape[axis]
        wanted = [min(depth - 1, int(position * depth)) for position in positions]
        kept = sorted(set(wanted))
        self.frames = [kept.index(k) for k in wanted]
        tiles = np.moveaxis(volume, axis, 0)[kept]
        self.tile = tiles.shape[1:]
        self.columns = int(np.ceil(np.sqrt(len(kept))))
        self.rows = -(-len(kept) // self.columns)
        height, width = self.tile
        sheet = np.zeros((self.rows * height, self.columns * width), np.uint8)
        for index, tile in enumerate(tiles):
            row, column = divmod(index, self.columns)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        self.png = _indexed_png(sheet, colours)


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
) -> SliceViewer:
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
        caption: Text under the viewer; end it with :func:`provenance`.
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
    return SliceViewer(checked, phases, own, axis, max(1, frames), max_bytes, texts)


def live_viewer(
    volumes: Mapping[str, np.ndarray],
    phases: Sequence[str],
    *,
    scale_factor: float | None = None,
    own_phases: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """An ipywidgets viewer for a live notebook: slice slider and direction menu.

    Args:
        volumes: Name -> labels ``(D, H, W)``.
        phases: Phase names, darkest first.
        scale_factor: As in :func:`slice_viewer`.
        own_phases: Volume name -> names of its labels if they are not ``phases``.

    Returns:
        The widget.

    Raises:
        ValueError: as :func:`slice_viewer`.
    """
    import ipywidgets as widgets

    own = dict(own_phases or {})
    checked = _check_volumes(volumes, phases, own, scale_factor)
    menu = widgets.Dropdown(options=[("z", 0), ("y", 1), ("x", 2)], description="normal")
    slider = widgets.IntSlider(description="slice", continuous_update=True)
    panes = widgets.HTML()
    size = _PANE_PX.get(len(checked), 216)

    def depth() -> int:
        return max(volume.shape[menu.value] for volume in checked.values())

    def draw(_=None) -> None:
        position = (slider.value - 0.5) / depth()
        cells = []
        for name, volume in checked.items():
            image = slice_at(volume, menu.value, position)
            png = _indexed_png(image, palette(phases, own.get(name)))
            data = base64.b64encode(png).decode()
            alt = f"{name}: slice {slider.value} of {depth()} along {'zyx'[menu.value]}"
            cells.append(
                f'<div><div>{escape(name)}</div><img alt="{escape(alt)}" style="width:{size}px;'
                f'image-rendering:pixelated" src="data:image/png;base64,{data}"></div>'
            )
        panes.value = f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cells)}</div>'

    def turn(_=None) -> None:
        slider.min, slider.max = 1, depth()
        slider.value = (depth() + 1) // 2
        draw()

    menu.observe(turn, names="value")
    slider.observe(draw, names="value")
    turn()
    return widgets.VBox([widgets.HBox([menu, slider]), panes])


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


def _indexed_png(labels: np.ndarray, colours: np.ndarray) -> bytes:
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette(colours.tobytes())
    memory = io.BytesIO()
    picture.save(memory, format="PNG", optimize=True, bits=2 if len(colours) <= 4 else 4)
    return memory.getvalue()
