"""The report of a super-resolution: one HTML file that says whether to believe the volume.

It opens without a network, on a phone and on paper.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from torch import nn

import srlib
from srlib.data.case import Case
from srlib.inference.assessment import LIMITS, assess, beyond_chance
from srlib.models.weights import sha256
from srlib.results import commit, device, number
from srlib.storage import write_atomic
from srlib.viz.fields import centre_crop, palette
from srlib.viz.style import SOURCES, new_figure, scale_bar

CITATION = (
    "the srlib authors. Finer than measured: super-resolution of 3D material images. Version "
    "0.1.0, 2026. MIT licence. github.com/srlib/srlib-book",
    "A. Dahari, S. Kench, I. Squires, S. J. Cooper. Fusion of complementary 2D and 3D "
    "mesostructural datasets using generative adversarial networks. 2021. arXiv:2110.11281",
)
"""What to cite: this software (``CITATION.cff``) and the paper of the method."""

CHAPTERS = (
    "A chapter that is named above is a notebook of the first of the two, in its folder notebooks: "
    "12_case3_fuel_cell, 21_noise or 24_edges."
)

NBSP = "\u00a0"
FRAMES = 32
WINDOW = 256
MAX_BYTES = 6_000_000
_VIEWER_BYTES = 3_500_000
_WIDE = 640
_LINES = {"fine images": SOURCES[0], "output": SOURCES[1], "interpolation": SOURCES[2]}
_DASHES = {
    "fine images": ("solid", "-"),
    "output": ("dashed", (0, (4, 2))),
    "interpolation": ("dotted", (0, (1, 1.5))),
}
_SHOWN = ("case", "source", "profile", "seed", "iterations", "best_iteration", "seconds", "device")
_KINDS = ("training", "wrong", "unsure")
_UNSURE = mpl.colormaps["magma_r"]

_CSS = """
:root{color-scheme:light}*{box-sizing:border-box}
body{margin:0 auto;max-width:1100px;padding:1rem;background:#fff;color:#1a1a1a;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.25rem;margin:2.2rem 0 .5rem;
border-bottom:2px solid #1a1a1a;padding-bottom:.2rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}
p{max-width:70ch;margin:.5rem 0}.note{color:#444;font-size:.9rem}
.grid{display:grid;gap:1rem;align-items:end;grid-template-columns:repeat(2,minmax(0,1fr))}
.charts{grid-template-columns:minmax(0,1fr)}
@media(min-width:720px){.grid{grid-template-columns:repeat(4,minmax(0,1fr))}
.charts{grid-template-columns:repeat(3,minmax(0,1fr))}}
figure{margin:0;min-width:0}figcaption{font-size:.9rem;margin-bottom:.25rem}
figure img{display:block;width:100%;height:auto;border:1px solid #bbb}.charts img{border:0}
.bar{display:flex;align-items:center;gap:.4rem;font-size:.85rem;margin-top:.3rem;white-space:nowrap}
.bar i{height:4px;background:#1a1a1a;flex:none}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.9rem;margin:.7rem 0}
.key i{display:inline-block;width:.95em;height:.95em;border:1px solid #555;margin-right:.4em;
vertical-align:-.1em}.key .line{width:2em;height:0;border-width:3px 0 0;vertical-align:.25em}
.verdict{font-size:1.15rem;font-weight:600;border-left:5px solid #1a1a1a;margin:1rem 0;
padding:.2rem 0 .2rem .8rem}
.tables{display:flex;flex-wrap:wrap;gap:0 2.5rem;align-items:flex-start}
figure.numbers{max-width:100%}
.numbers figcaption{font-weight:600;max-width:34rem;margin:.8rem 0 0}
.scroll{overflow-x:auto;margin:.3rem 0 .6rem}table{border-collapse:collapse;font-size:.92rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}th:first-child,td.text{text-align:left}
td.text{white-space:normal;min-width:12rem}thead th{border-bottom:1.5px solid #1a1a1a}
td.off{font-weight:700}
.short{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,150px),1fr))}
.short div{border:1px solid #bbb;border-radius:4px;padding:.6rem .8rem}
.short b{display:block;font-size:1.5rem;line-height:1.2}
.doubts{padding-left:1.2rem}.doubts li{margin:.5rem 0;max-width:75ch}
.slide{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;margin:.8rem 0}
.facts{columns:21rem;column-gap:2.5rem;margin:.4rem 0;font-size:.92rem}
.facts div{display:flex;flex-wrap:wrap;gap:0 .8rem;justify-content:space-between;
border-bottom:1px solid #ccc;padding:.2rem 0;break-inside:avoid}.facts dd{margin:0}
summary{cursor:pointer;padding:.3rem 0}
.slide input{flex:1 1 200px;max-width:480px;min-width:0;height:2rem}
pre{white-space:pre-wrap;background:#f4f4f4;padding:.6rem .8rem;font-size:.85rem}
th,td{overflow-wrap:normal}
@media screen and (max-width:600px){table{font-size:.78rem}th,td{padding:.2rem .35rem}
th,td,td.text{white-space:normal;min-width:0}}
@media print{body{max-width:none;font-size:10.5pt}.slide input{display:none}
figure,tr,li,.short div{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}
.key i,.bar i{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.grid{grid-template-columns:repeat(4,minmax(0,1fr))}
.charts{grid-template-columns:repeat(3,minmax(0,1fr))}}
"""

_SCRIPT = """
const slices=JSON.parse(document.getElementById("slices").textContent);
const slider=document.getElementById("slice");
function move(){const k=+slider.value,said=slices.names[k];
document.querySelectorAll("img[data-pane]").forEach(i=>{
i.src="data:image/png;base64,"+slices.panes[i.dataset.pane][k]});
document.getElementById("where").textContent=said;slider.setAttribute("aria-valuetext",said)}
slider.addEventListener("input",move);
addEventListener("beforeprint",()=>document.querySelectorAll("details").forEach(d=>d.open=true));
"""


def report(
    path: str | Path,
    model: nn.Module,
    case: Case,
    sr: Any = None,
    *,
    voxel_size: float | Sequence[float | None] | None = None,
    title: str = "",
    inputs: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Measure a super-resolved volume and write the report of it: one HTML file.

    Args:
        path: The file.
        model, case, sr: As in :func:`srlib.inference.assessment.assess`.
        voxel_size: Of the output in micrometres, one number or one each for z, y, x; None for
            what the case says, or where it is not known.
        title: Heading; the name of the case by default.
        inputs: What went in, as named rows: files, what was done with them, the command.
        recipe: How the network was trained, as named rows; by default what its ``.meta`` says.
        how: ``samples``, ``seed``, ``crop``, ``edge`` and ``progress`` of
            :func:`srlib.inference.assessment.assess`.

    Returns:
        What was measured.

    Raises:
        ValueError: as ``assess``, or for an impossible voxel size; nothing is written.
        OSError: if the file cannot be written.
    """
    size = _voxel_size(voxel_size, case)
    found = assess(model, case, sr, **how)
    made = {"recipe": _recipe(model) if recipe is None else recipe, "made by": _made_by(model)}
    page = report_html(found, case, sr, size, title or case.name, inputs or {}, made)
    write_atomic(Path(path), page.encode())
    return found


def report_html(
    found: Mapping[str, Any],
    case: Case,
    sr: Any = None,
    voxel_size: tuple[float | None, ...] = (None,) * 3,
    title: str = "",
    inputs: Mapping[str, Any] | None = None,
    made: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The page of :func:`report` for what :func:`srlib.inference.assessment.assess` has found."""
    sections = (
        _head(found, title, voxel_size),
        _verdict(found["doubts"]),
        _in_short(found),
        _doubts(found),
        _pictures(found, case, sr, voxel_size),
        _viewer(found, voxel_size),
        _amounts(found, voxel_size),
        _curves(found, voxel_size),
        _transport(found),
        _agreement(found),
        _uncertainty(found),
        _provenance(inputs or {}, made or {}),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: super-resolution report</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _voxel_size(given: Any, case: Case) -> tuple[float | None, ...]:
    """Micrometres along z, y, x."""
    if given is None and case.voxel_nm is not None:
        given = case.voxel_nm / 1000
    sizes = tuple(given) if isinstance(given, Sequence) else (given,) * 3
    if len(sizes) != 3 or any(s is not None and not 0 < s < np.inf for s in sizes):
        raise ValueError(
            f"voxel_size must be micrometres above 0, one number or three, not {given!r}"
        )
    return sizes


def _recipe(model: nn.Module) -> dict[str, Any]:
    """What a model says of its training, without the numbers of every check."""
    meta = getattr(model, "meta", None) or {}
    rows = {k: v for k, v in meta.items() if not isinstance(v, list | Mapping)}
    return rows | dict(meta.get("recipe", {}))


def _made_by(model: nn.Module) -> dict[str, Any]:
    return {
        "network": type(model).__name__,
        "weights, SHA-256": sha256(model),
        "srlib": srlib.__version__,
        "commit of srlib": commit(),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
        "device": device(),
    }


# Parts of a page


def _section(title: str, *parts: str, anchor: str = "") -> str:
    name = f' id="{anchor}"' if anchor else ""
    return f"<section{name}>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _words(text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{_linked(text)}</p>\n"


def _linked(text: str) -> str:
    """Escaped; a chapter that is named leads to the book in the citation."""
    return re.sub(r"\bchapter \d+", r'<a href="#cite">\g<0></a>', escape(text))


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, bold: Sequence[int] = ()
) -> str:
    """Rows of cells, the first their name; the first number of the rows in ``bold`` stands out."""
    off = '<td class="off">'
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = ""
    for i, (name, *cells) in enumerate(rows):
        tds = "".join(
            f"{off if i in bold and not j else '<td>'}{escape(cell)}</td>"
            for j, cell in enumerate(cells)
        )
        body += f'<tr><th scope="row">{escape(name)}</th>{tds}</tr>\n'
    return (
        f'<figure class="numbers"><figcaption>{escape(caption)}</figcaption>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div></figure>\n"
    )


def _tables(*tables: str) -> str:
    return f'<div class="tables">\n{"".join(tables)}</div>\n'


def _facts(rows: Mapping[str, Any]) -> str:
    """Names and values, one under the other."""
    body = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(_fact(value))}</dd></div>\n"
        for name, value in rows.items()
    )
    return f'<dl class="facts">\n{body}</dl>\n'


def _fact(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float | np.number):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return ", ".join(map(_fact, value)) if isinstance(value, list | tuple) else str(value)


def percent(value: float, error: float | None = None) -> str:
    """A share as a table shows it: ``35.94 ± 0.43 %``."""
    if error is None or not np.isfinite(error):
        return f"{100 * value:.2f}{NBSP}%"
    return f"{100 * value:.2f} ±{NBSP}{100 * error:.2f}{NBSP}%"


# Pictures


def _png(picture: np.ndarray, colours: np.ndarray) -> str:
    """Labels as an indexed PNG, in base64; small pictures are repeated, so that they stay crisp."""
    times = max(1, 512 // max(picture.shape))
    image = Image.fromarray(picture.repeat(times, 0).repeat(times, 1), mode="P")
    image.putpalette(colours.tobytes())
    bits = next(b for b in (1, 2, 4, 8) if len(colours) <= 2**b)
    return _base64(image, bits=bits)


def _wide_png(picture: np.ndarray, colours: np.ndarray) -> str:
    """The same of a picture that may be large: its colours are averaged to make it smaller."""
    if max(picture.shape) <= _WIDE:
        return _png(picture, colours)
    rows, columns = (max(1, round(n * _WIDE / max(picture.shape))) for n in picture.shape)
    image = Image.fromarray(colours[picture]).resize((columns, rows), Image.Resampling.BOX)
    return _base64(image.quantize(64, dither=Image.Dither.NONE))


def _base64(image: Image.Image, **options: Any) -> str:
    memory = io.BytesIO()
    image.save(memory, format="PNG", optimize=True, **options)
    return base64.b64encode(memory.getvalue()).decode()


def _figure(
    name: str, data: str, alt: str, shape: Sequence[int], size: tuple, pane: str = ""
) -> str:
    """A picture with its name above and its scale bar below; ``size`` is (down, across) in µm."""
    down, across = (s or 1.0 for s in size) if all(size) else (1.0, 1.0)
    length, text = scale_bar(shape[1], size[1] and 1000 * size[1])
    ratio = f"{shape[1] * across / (shape[0] * down):.4f}"
    extra = f' data-pane="{escape(pane)}"' if pane else ""
    return (
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<img alt="{escape(alt)}" style="aspect-ratio:{ratio}"{extra} '
        f'src="data:image/png;base64,{data}">'
        f'<div class="bar"><i style="width:{100 * length / shape[1]:.2f}%"></i>{text}</div>'
        "</figure>\n"
    )


def _key(names: Sequence[str], colours: np.ndarray) -> str:
    swatches = "".join(
        f'<span><i style="background:rgb({r},{g},{b})"></i>{escape(name)}</span>'
        for name, (r, g, b) in zip(names, np.asarray(colours).tolist(), strict=True)
    )
    return f'<div class="key">{swatches}</div>\n'


def _coarse_colours(found: Mapping) -> np.ndarray:
    """Of each coarse phase: the colour of the most frequent fine phase that looks like it."""
    should = np.array([row["fine images"] for row in found["fractions"].values()])
    likely = (np.asarray(found["phase_map"]) * should[:, None]).argmax(0)
    return palette(found["phases"])[likely]


def _unsure_colours(samples: int) -> np.ndarray:
    levels = np.linspace(0, 1, samples)
    colours = np.round(255 * np.array([_UNSURE(0.95 * k)[:3] for k in levels])).astype(np.uint8)
    colours[0] = 255
    return colours


def _unsure_levels(found: Mapping) -> np.ndarray:
    """How many of the noises do not say what most of them say."""
    samples = found["noise"]["samples"]
    return np.rint(found["volumes"]["disagreement"] * samples).astype(np.uint8)


def _window(found: Mapping) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What the viewer shows of the measured part, at most WINDOW wide: fine and coarse voxels."""
    fine, coarse = (found["volumes"][k].shape for k in ("output", "coarse"))
    scale = found["scale_factor"]
    whole = next(k for k in range(1, 9) if abs(k * scale - round(k * scale)) < 1e-6)
    parts: tuple[list[slice], list[slice]] = [], []
    for axis, (n, m) in enumerate(zip(fine, coarse, strict=True)):
        size = m if axis == 0 else max(whole, min(m, int(WINDOW / scale) // whole * whole))
        start = (m - size) // 2 // whole * whole
        parts[1].append(slice(start, start + size))
        parts[0].append(slice(round(start * scale), min(n, round((start + size) * scale))))
    return tuple(parts[0]), tuple(parts[1])


def _pictures(found: Mapping, case: Case, sr: Any, size: tuple) -> str:
    phases, coarse_phases, lr = found["phases"], found["lr_phases"], case.lr
    assert lr is not None  # assess has refused a case without
    colours, coarse_colours = palette(phases), _coarse_colours(found)
    scale, output = found["scale_factor"], found["volumes"]["output"]
    coarse_size = tuple(s and s * scale for s in size)
    said = ", ".join(phases)
    shown = {0: case.hr[0]} if case.normals is None else {}
    for normal, image in zip(case.normals or [], case.hr, strict=False):
        shown.setdefault(normal, image)
    panes = []
    for normal, image in sorted(shown.items()):
        along = f", normal to {'zyx'[normal]}" if case.normals is not None else ""
        name = f"fine image{along}, {_size(image.shape)} pixels"
        alt = f"The fine image{along}, {said} in different shades."
        across = size[2] if normal < 2 else size[1]
        down = size[1] if normal == 0 else size[0]
        panes.append(_figure(name, _wide_png(image, colours), alt, image.shape, (down, across)))
    middle = lr[lr.shape[0] // 2]
    panes.append(
        _figure(
            f"coarse volume, a slice of {_size(lr.shape)} voxels",
            _wide_png(middle, coarse_colours),
            f"The middle slice of the coarse volume, blocky: {', '.join(coarse_phases)}.",
            middle.shape,
            coarse_size[1:],
        )
    )
    if sr is not None:
        whole = np.ascontiguousarray(sr[sr.shape[0] // 2], np.uint8)
        panes.append(
            _figure(
                f"output, a slice of {_size(sr.shape)} voxels",
                _wide_png(whole, colours),
                f"The middle slice of the output, smooth: {said}.",
                whole.shape,
                size[1:],
            )
        )
    fine = _window(found)[0]
    part, cuts = output[fine], []
    for axis, letter in enumerate("zyx"):
        cut = part.take(part.shape[axis] // 2, axis)
        around = tuple(s for k, s in enumerate(size) if k != axis)
        name = f"output, normal to {letter}, {_size(cut.shape)} voxels"
        alt = f"A cut of the output normal to {letter}: {said}."
        cuts.append(_figure(name, _png(cut, colours), alt, cut.shape, around))
    image = centre_crop(case.hr[0], part.shape[1:])
    name = f"fine image, {_size(image.shape)} pixels of it"
    alt = "The middle of the fine image, to be compared with the cuts of the output."
    cuts.append(_figure(name, _png(image, colours), alt, image.shape, size[1:]))
    return _section(
        "What went in and what came out",
        f'<div class="grid">{"".join(panes)}</div>\n',
        _key(phases, colours),
        _key_of_coarse(found, coarse_colours),
        "<h3>The output in three directions, beside the fine image</h3>\n",
        f'<div class="grid">{"".join(cuts)}</div>\n',
    )


def _key_of_coarse(found: Mapping, colours: np.ndarray) -> str:
    if found["lr_phases"] == found["phases"]:
        return ""
    return _key([f"coarse: {name}" for name in found["lr_phases"]], colours)


def _size(shape: Sequence[Any]) -> str:
    return " × ".join(map(str, shape))


def _viewer(found: Mapping, size: tuple) -> str:
    """Coarse volume, interpolation, output and disagreement at the same place, with a slider."""
    fine, coarse = _window(found)
    volumes, colours = found["volumes"], palette(found["phases"])
    samples = found["noise"]["samples"]
    stacks = {
        "coarse volume": (volumes["coarse"][coarse], _coarse_colours(found)),
        "interpolation": (volumes["interpolation"][fine], colours),
        "output": (volumes["output"][fine], colours),
        "disagreement of the noises": (_unsure_levels(found)[fine], _unsure_colours(samples)),
    }
    depth, frames = stacks["output"][0].shape[0], FRAMES
    while True:
        places = [int((k + 0.5) * depth / min(frames, depth)) for k in range(min(frames, depth))]
        panes = {
            name: [_png(stack[int(k * len(stack) / depth)], inks) for k in places]
            for name, (stack, inks) in stacks.items()
        }
        if frames <= 4 or sum(len(p) for pane in panes.values() for p in pane) <= _VIEWER_BYTES:
            break
        frames //= 2
    first = found["part"][0][0]
    names = [f"z = {first + k} of {found['shape'][0]} voxels" for k in places]
    if size[0]:
        names = [
            f"{n}, {(first + k) * size[0]:.4g}{NBSP}µm" for n, k in zip(names, places, strict=True)
        ]
    start = len(places) // 2
    shape = stacks["output"][0].shape[1:]
    figures = "".join(
        _figure(name, pane[start], f"{name}: slice at {names[start]}.", shape, size[1:], name)
        for name, pane in panes.items()
    )
    most = samples - -(-samples // len(found["phases"]))
    said = ["all agree", *(f"{k} of {samples} say otherwise" for k in range(1, most + 1))]
    data = json.dumps({"names": names, "panes": panes}).replace("<", "\\u003c")
    return _section(
        "Slice by slice",
        '<div class="slide"><label for="slice">Move through the volume</label>'
        f'<input type="range" id="slice" min="0" max="{len(places) - 1}" value="{start}" step="1" '
        f'autocomplete="off" aria-valuetext="{names[start]}"><output id="where" for="slice">'
        f"{names[start]}</output></div>\n",
        f'<div class="grid">{figures}</div>\n',
        _key(found["phases"], colours),
        _key(said, _unsure_colours(samples)[: len(said)]),
        f'<script type="application/json" id="slices">{data}</script>\n',
    )


# Numbers


def _head(found: Mapping, title: str, size: tuple) -> str:
    edges = f"{_size(found['shape'])} voxels"
    if all(size):
        lengths = [f"{n * s:.4g}" for n, s in zip(found["shape"], size, strict=True)]
        edges += f", {' × '.join(lengths)}{NBSP}µm"
        one = f"{size[0]:.4g}" if len(set(size)) == 1 else _size([f"{s:.4g}" for s in size])
        edges += f"; a voxel is {one}{NBSP}µm"
    else:
        edges += "; the size of a voxel is not known, so lengths are in voxels (px)"
    part = _size([b - a for a, b in found["part"]])
    begin = ", ".join(str(a) for a, _ in found["part"])
    return (
        f"<h1>{escape(title)}: super-resolution report</h1>\n"
        + _words(f"{found['scale_factor']:g} times finer than the scan: {edges}.")
        + _words(
            f"Measured in a block of {part} voxels in its middle (from voxel {begin}), unless "
            "said otherwise. The volume is a proposal: it fits the scan and looks like the fine "
            "images, and other volumes do so as well.",
            "note",
        )
    )


def _verdict(doubts: Sequence[Mapping[str, str]]) -> str:
    """The doubts in a sentence or two, for who reads no further."""
    about = {k: list(dict.fromkeys(d["about"] for d in doubts if d["kind"] == k)) for k in _KINDS}
    wrong, unsure = about["wrong"], about["unsure"]
    said = [d["says"][0].upper() + d["says"][1:] for d in doubts if d["kind"] == "training"]
    if wrong:
        count = "One thing is" if len(wrong) == 1 else f"{_count(len(wrong)).title()} things are"
        said.append(f"{count} off by more than chance or our limits allow: {_listed(wrong)}.")
    elif not said:
        said.append(
            "Nothing stands out against the fine images and the scan; what they do not show is "
            "not judged."
        )
    if unsure:
        said.append(f"Take with care: {_listed(unsure)}.")
    text = escape(" ".join(said))
    if doubts:
        text += ' Read <a href="#doubts">Where not to trust it</a> before you use a number.'
    return f'<p class="verdict">{text}</p>\n'


def _count(number: int) -> str:
    words = "no one two three four five six seven eight nine".split()
    return words[number] if number < len(words) else str(number)


def _listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence: ``a, b and c``, or ``a, b, c and 3 more``."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], ""]
    if len(names) > most:
        shown[-1] = f"{len(names) - most + 1} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _in_short(found: Mapping) -> str:
    rows = found["fractions"]
    worst = max(rows, key=lambda p: abs(rows[p]["output"] - rows[p]["fine images"]))
    off = rows[worst]["output"] - rows[worst]["fine images"]
    chance = beyond_chance(rows[worst])[0]
    noise, count = found["noise"], len(found["doubts"])
    cards = (
        (f"{found['consistency']['output']:.2%}", "of the coarse voxels come back"),
        (
            f"{100 * off:+.2f} points".replace("-", "−"),
            f"largest difference of a fraction from the fine images ({worst}); "
            f"up to {100 * chance:.2f} points can be chance",
        ),
        (f"{1 - noise['disagree']:.0%}", f"of the voxels: all {noise['samples']} noises agree"),
        (str(count), f"place{'s' * (count != 1)} or number{'s' * (count != 1)} not to trust"),
    )
    boxes = "".join(f"<div><b>{escape(a)}</b>{escape(b)}</div>" for a, b in cards)
    return _section("In short", f'<div class="short">{boxes}</div>\n')


def _amounts(found: Mapping, size: tuple) -> str:
    def rows(table: Mapping) -> list:
        return [
            (
                name,
                percent(row["output"], row["output error"]),
                percent(row["fine images"], row["fine images error"]),
                percent(row["interpolation"]),
            )
            for name, row in table.items()
        ]

    head = ["output", "fine images", "interpolation"]
    tables = [
        _table(["phase", *head], rows(found["fractions"]), "Volume fractions", _bold(found, 0)),
        _table(
            ["coarse phase", "scan", "output", "interpolation"],
            [
                (n, *(percent(r[k]) for k in ("scan", "output", "interpolation")))
                for n, r in found["scan"].items()
            ],
            "In the scan, and as a scan would see the two at the same place",
        ),
        _table(
            ["between", *head],
            rows(found["areas"]),
            "Boundary: share of the voxel faces, or of the edges of pixels in an image",
            _bold(found, 1),
        ),
    ]
    if all(size) and len(set(size)) == 1:
        areas = [
            (n, *(f"{number(3 * r[k] / size[0])}" for k in head)) for n, r in found["areas"].items()
        ]
        tables.append(_table(["between", *head], areas, "The same as area by volume, µm²/µm³"))
    below = next(iter(found["specks"].values()))["below"]
    tables.append(
        _table(
            ["phase", *head],
            rows(found["specks"]),
            f"Specks: bodies below {below:.0f} pixels, share of a plane",
            _bold(found, 2),
        )
    )
    return _section(
        "How much, and how finely divided",
        _tables(*tables),
        _words(
            "± is what another piece of the material of this size would differ by, in 95 % of "
            "cases. Bold: output and fine images differ by more than that. Faces of voxels "
            "overestimate the area of smooth surfaces, by half for a ball, alike in all columns.",
            "note",
        ),
    )


def _bold(found: Mapping, number_of_table: int) -> list[int]:
    table = found[("fractions", "areas", "specks")[number_of_table]]
    return [i for i, row in enumerate(table.values()) if beyond_chance(row)[1]]


def _curves(found: Mapping, size: tuple) -> str:
    step = size[0] if all(size) and len(set(size)) == 1 else None
    unit = "voxels" if step is None else "µm"
    charts: dict[str, list[str]] = {"two_point": [], "chords": []}
    for name in found["phases"]:
        both = found["two_point"][name]
        drawn = _chart(both, step or 1, f"distance ({unit})", "probability", name)
        alt = (
            f"Two-point function of {name} against distance: it starts at the fraction, "
            f"{both['output'][0]:.3f} in the output and {both['fine images'][0]:.3f} in the fine "
            "images, and falls to its square."
        )
        charts["two_point"].append(_svg_figure(drawn, alt))
        runs = {k: v / (step or 1) for k, v in found["chords"][name].items()}
        means = {
            k: float(v @ np.arange(len(v))) * (step or 1) for k, v in found["chords"][name].items()
        }
        drawn = _chart(runs, step or 1, f"chord ({unit})", f"probability per {unit}", name, 1)
        alt = (
            f"Chord lengths of {name}, by voxels; their mean is {means['output']:.3g} {unit} in "
            f"the output and {means['fine images']:.3g} in the fine images."
        )
        charts["chords"].append(_svg_figure(drawn, alt))
    far = found["s2"]
    key = "".join(
        f'<span><i class="line" style="border-style:{dash};border-color:{_LINES[name]}"></i>'
        f"{name}</span>"
        for name, (dash, _) in _DASHES.items()
    )
    return _section(
        "Distances",
        "<h3>Two-point functions: how often two points so far apart are both in the phase</h3>\n",
        f'<div class="grid charts">{"".join(charts["two_point"])}</div>\n',
        f'<div class="key">{key}</div>\n',
        _words(
            f"Mean difference from the fine images, over all pairs of phases: output "
            f"{far['output']:.4f}, interpolation {far['interpolation']:.4f}; "
            f"up to {far['chance']:.4f} can be chance, and good volumes stay below {LIMITS['s2']} "
            "(chapter 12).",
        ),
        "<h3>Chord lengths: runs of one phase along a line</h3>\n",
        f'<div class="grid charts">{"".join(charts["chords"])}</div>\n',
        f'<div class="key">{key}</div>\n',
    )


def _chart(
    lines: Mapping[str, np.ndarray],
    step: float,
    xlabel: str,
    ylabel: str,
    title: str,
    first: int = 0,
) -> bytes:
    """Curves over distance as an SVG, without a date, so that equal numbers give equal bytes."""
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure, axes = new_figure(1, 1, height=2.5, width=3.4)
        mpl.rcParams["svg.fonttype"] = "path"
        ax = axes[0, 0]
        ends = []
        for name in ("interpolation", "fine images", "output"):
            line = np.asarray(lines[name])[first:]
            x = step * (first + np.arange(len(line)))
            ax.plot(x, line, color=_LINES[name], linestyle=_DASHES[name][1])
            if first and line.any():
                ends.append(x[np.searchsorted(np.cumsum(line) / line.sum(), 0.99)])
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, None))
        ax.margins(x=0)
        if ends:
            ax.set_xlim(0, max(ends))
        memory = io.BytesIO()
        figure.savefig(memory, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return memory.getvalue()


def _svg_figure(svg: bytes, alt: str) -> str:
    data = base64.b64encode(svg).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}"></figure>\n'


def _transport(found: Mapping) -> str:
    flow = found["transport"]
    volume = [
        (
            name,
            *(", ".join(number(v) for v in row[k]) for k in ("output", "interpolation")),
            number(row["over noises"]),
        )
        for name, row in flow["volume"].items()
    ]
    tables = [
        _table(
            ["phase", "output (z, y, x)", "interpolation (z, y, x)", "spread over noises (z)"],
            volume,
            f"Effective diffusivity of a block of {_size(flow['size'])} voxels, to that of free "
            "space",
        )
    ]
    said = "A fine image says nothing of transport in a volume, as paths leave its plane. "
    if any(row[k] for row in flow["planes"].values() for k in ("output", "fine images")):
        planes = [
            (name, *(_flow(row[k], row[f"{k} error"]) for k in _LINES))
            for name, row in flow["planes"].items()
        ]
        size = f"{flow['window']} × {flow['window']}"
        tables.append(_table(["phase", *_LINES], planes, f"The same in planes of {size} pixels"))
        said += "In planes the two can be compared; 0 is a phase that crosses none of them."
    else:
        said += "In planes no phase crosses either, so nothing of it can be compared."
    return _section("Transport", _tables(*tables), _words(said, "note"))


def _flow(value: float, error: float) -> str:
    if not value:
        return "0"
    return (
        f"{number(value, 2)} ±{NBSP}{number(error, 2)}" if np.isfinite(error) else number(value, 2)
    )


def _agreement(found: Mapping) -> str:
    rows = [
        (
            "coarse voxels that come back",
            *(percent(found["consistency"][k]) for k in ("output", "interpolation")),
            f"at least {100 * (1 - LIMITS['lost']):.1f}{NBSP}%",
        ),
        *(
            (
                name,
                *(percent(found[key][k]) for k in ("output", "interpolation")),
                f"below {100 * LIMITS[key]:.0f}{NBSP}%",
            )
            for key, name in (
                ("imprint", "imprint of the coarse grid"),
                ("anisotropy", "anisotropy of the boundary"),
            )
        ),
    ]
    slant = [
        (
            name,
            *(percent(row[k]) for k in ("output", "fine images", "interpolation")),
            percent(row["chance"]),
        )
        for name, row in found["slant"].items()
    ]
    return _section(
        "Does it agree with the scan, and is it alike in all directions?",
        _tables(
            _table(["", "output", "interpolation", "limit"], rows, "Errors and limits"),
            _table(
                ["phase", "output", "fine images", "interpolation", "chance"],
                slant,
                "Slant: boundary across one diagonal of a plane more than across the other",
            ),
        ),
        _words(
            "A coarse voxel comes back if down-sampling the output gives it again. Imprint: how "
            "far the boundary in fine planes at one depth inside the coarse voxels is from the "
            "average. Anisotropy: how far that of one axis is from the mean of the three. The "
            "limits are errors that good volumes stay below (chapter 12). Slant: no training looks "
            "along diagonals (chapter 24); chance is for the output.",
            "note",
        ),
    )


def _uncertainty(found: Mapping) -> str:
    noise, level = found["noise"], found["calibration"]
    rows = [
        (name, percent(noise["same"][name]), percent(spread))
        for name, spread in noise["fractions_spread"].items()
    ]
    first = [start for start, _ in found["part"]]
    cubes = [
        (
            ", ".join(f"{a + b}" for a, b in zip(first, place["start"], strict=True)),
            percent(place["disagree"]),
        )
        for place in noise["places"]
    ]
    edge = _size([noise["cube"]] * 3)
    if level["measured"]:
        said = (
            f"Held against the true fine volume of this very place: where all {level['samples']} "
            f"noises agree ({level['agree']:.0%} of the voxels), {level['right']:.1%} are right. "
            f"The expected calibration error is {level['calibration_error']:.3f} for the worst "
            "phase."
        )
    else:
        said = (
            "Agreement of the noises is not certainty, and here no truth is known to calibrate it. "
            f"It was calibrated on {level['material']}, at scale factor "
            f"{level['scale_factor']:g} with {level['samples']} noises (chapter 21): where all "
            f"agreed ({level['agree']:.0%} of the voxels), {level['right']:.1%} were right, and "
            f"the expected calibration error was {level['calibration_error']:.3f} for the worst "
            "phase. Take that as the level here, not as a promise."
        )
    return _section(
        "How sure is it?",
        _words(
            f"The volume was made with {noise['samples']} noises. They disagree on "
            f"{noise['disagree']:.1%} of the voxels; the last picture of the slice viewer shows "
            "which."
        ),
        _tables(
            _table(
                ["phase", "another noise has it again", "spread of the fraction"],
                rows,
                "Voxels of the output",
            ),
            _table(
                ["cube from voxel (z, y, x)", "noises disagree on"],
                cubes,
                f"The cubes of {edge} voxels with most disagreement; "
                f"{percent(noise['cubes_mean'])} is the mean",
            ),
        ),
        _words(said),
        anchor="uncertainty",
    )


def _doubts(found: Mapping) -> str:
    items = "".join(
        f"<li><strong>{escape(d['about'])}:</strong> {_linked(d['says'])}</li>\n"
        for d in found["doubts"]
    )
    body = f'<ul class="doubts">\n{items}</ul>\n' if items else ""
    none = "" if items else _words("Nothing stands out of the numbers above.")
    return _section("Where not to trust it", body, none, anchor="doubts")


def _training(rows: Mapping[str, Any], by: Mapping[str, Any]) -> str:
    """What matters of a training, and the rest folded; device and commit only if they differ."""
    same = {"device": by.get("device"), "commit": by.get("commit of srlib")}
    shown: dict[str, Any] = {}
    folded: dict[str, Any] = {}
    for name, value in rows.items():
        if name in same and value == same[name]:
            continue
        label = f"{name} of the training" if name in same else name
        (shown if name in _SHOWN else folded)[label] = value
    rest = f"<details>\n<summary>All other settings ({len(folded)})</summary>\n{_facts(folded)}"
    return _facts(shown) * bool(shown) + f"{rest}</details>\n" * bool(folded)


def _provenance(inputs: Mapping, made: Mapping[str, Mapping]) -> str:
    names = {"recipe": "Training", "made by": "Network, software and device"}
    parts = [f"<h3>Inputs</h3>\n{_facts(inputs)}"] if inputs else []
    for key, rows in made.items():
        body = _training(rows, made.get("made by", {})) if key == "recipe" else _facts(rows)
        if rows:
            parts.append(f"<h3>{escape(names.get(key, key))}</h3>\n{body}")
    cite = "".join(f"<li>{escape(text)}</li>" for text in CITATION)
    return _section("How it was made", *parts) + _section(
        "How to cite", f"<ul>{cite}</ul>\n", _words(CHAPTERS, "note"), anchor="cite"
    )
