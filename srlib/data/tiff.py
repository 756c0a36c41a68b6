"""TIFF of every kind: what is in it, as the screen shows it, and how large its voxels are."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from srlib.data.planes import Planes

MICROMETRES = {
    "m": 1e6,
    "metre": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "inch": 25400.0,
    "in": 25400.0,
}
_INVENTED = re.compile(  # what tifffile logs where it goes on with values that the file lacks
    r"failed to (read|reshape)|missing|incomplete|corrupted|expected \d+ frames|out of range"
    r"|could not read all|invalid (page )?offset|circular|invalid shaped|raised",
    re.IGNORECASE,
)


def micrometres(size: float | str | None, unit: str | None) -> float | None:
    """A length in micrometres; None if it is no length, or its unit none."""
    name = str(unit or "").strip().strip('"').replace("\\u00B5", "u").lower()
    name = name.replace("µ", "u").replace("μ", "u")
    try:
        length = float(size) * MICROMETRES[name]  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None
    return length if np.isfinite(length) and length > 0 else None


def read_tiff(path: Path) -> tuple[Any, tuple[float | None, ...] | None, list[str]]:
    """Values, voxel size and notes of a TIFF; see :func:`srlib.data.io.read`.

    Raises:
        ValueError: for colours, channels, images that do not fit together, or a file that is
            incomplete.
    """
    import tifffile

    with _complete(path), contextlib.ExitStack() as opened:
        tiff = opened.enter_context(tifffile.TiffFile(path))
        series, notes = _choose(tiff, path)
        first = series[0]
        axes = "".join(a for a, n in zip(first.axes, first.shape, strict=True) if n > 1)
        _check_axes(axes, first, path, notes)
        _check_complete(tiff, path)
        voxel_size = _voxel_size(tiff)
        show = _shown(first.keyframe, axes, path, notes)
        values = _values(path, tiff, series, show)
        if isinstance(values, Planes):
            opened.pop_all()  # the file stays open for them
    sizes = voxel_size[-values.ndim :]
    return values, sizes if any(sizes) else None, notes


@contextlib.contextmanager
def _complete(path: Path) -> Iterator[None]:
    """What tifffile only logs, such as missing pages that it fills with zeros, is raised."""
    said: list[str] = []
    handler, log = logging.Handler(logging.WARNING), logging.getLogger("tifffile")
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
    if invented := [text for text in said if _INVENTED.search(text)]:
        detail = re.sub(r"<tifffile\.\w+ [^>]*>\s*", "", invented[0])
        raise ValueError(
            f"{path.name} is incomplete ({detail.strip()}): fetch or save it again, or bring the "
            "files that belong to it"
        )


def _choose(tiff: Any, path: Path) -> tuple[list, list[str]]:
    """The series that make the image: one, or pieces that were appended, without thumbnails."""
    wanted = re.findall(r'FileName="([^"]+)"', tiff.ome_metadata or "")
    absent = sorted({name for name in wanted if not (path.parent / name).exists()} - {path.name})
    if absent and not any(
        (path.parent / name).samefile(path) for name in set(wanted) - set(absent)
    ):
        absent = []  # the file was renamed: the names of the others mean nothing
    if absent:
        raise ValueError(
            f"{path.name} is one of several files of an image, and {absent[0]} is not beside it: "
            "put all of them into one folder"
        )
    series = [s for s in tiff.series if s.size]
    if not series:
        raise ValueError(f"{path.name} holds no image: fetch or save it again")
    planes = {(s.shape[-2:], s.dtype, s.axes[-2:]) for s in series}
    if len(series) == 1:
        return series, []
    if len(planes) == 1 and "S" not in series[0].axes:
        return series, [
            f"{len(series)} pieces, appended one after another, are taken for one image"
        ]
    sizes = sorted((s.size for s in series), reverse=True)
    if sizes[0] >= 4 * sum(sizes[1:]):
        largest = max(series, key=lambda s: s.size)
        small = ", ".join(" x ".join(map(str, s.shape)) for s in series if s is not largest)
        return [largest], [f"a small image beside the large one is left out ({small})"]
    shapes = "; ".join(" x ".join(map(str, s.shape)) for s in series[:4])
    raise ValueError(
        f"{path.name} holds {len(series)} images that do not fit together ({shapes}): save the one "
        "that is meant to a file of its own"
    )


def _check_axes(axes: str, series: Any, path: Path, notes: list[str]) -> None:
    """Raise a ValueError for channels and time steps; two or three axes are left, and colours."""
    spatial = axes.replace("S", "")
    counts = dict(zip(series.axes, series.shape, strict=True))
    if "C" in spatial and (len(spatial) > 3 or counts["C"] < 5):
        raise ValueError(
            f"{path.name} has {counts['C']} channels: save one of them to a file of its own"
        )
    if len(spatial) > 3:
        shape = " x ".join(str(n) for n in series.shape if n > 1)
        raise ValueError(
            f"{path.name} has the axes {spatial} ({shape}): save one image or volume of it to a "
            "file of its own"
        )
    if len(spatial) == 3 and spatial[0] in "CT":
        kind = "channels" if spatial[0] == "C" else "time steps"
        notes.append(f"its {counts[spatial[0]]} {kind} are taken for the planes of a volume")


def _check_complete(tiff: Any, path: Path) -> None:
    """Raise a ValueError if the first or the last page lies beyond the end of the file."""
    size = path.stat().st_size
    for page in (tiff.pages.first, tiff.pages[len(tiff.pages) - 1]):
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if ends and max(ends) > size:
            raise ValueError(f"{path.name} is incomplete: fetch or save it again")


def _shown(
    keyframe: Any, axes: str, path: Path, notes: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """What makes of stored values those that the screen shows."""
    white, bits, dtype = keyframe.photometric == 0, keyframe.bitspersample, keyframe.dtype
    if keyframe.photometric == 3:
        notes.append("the colours of its palette are left out: values are the numbers behind them")
    if white and dtype.kind not in "bu":
        notes.append(f"it says that white is zero; {dtype} values are taken as they are stored")
        white = False
    if white:
        notes.append("white is zero in it: values are turned round, as the screen shows them")
    samples = dict(zip(keyframe.axes, keyframe.shape, strict=True)).get("S", 1)
    last = axes.endswith("S")

    def show(values: np.ndarray) -> np.ndarray:
        if samples > 1 and "S" in axes:
            values = _grey(values if last else np.moveaxis(values, -3, -1), path)
        if values.dtype == bool:
            values = values.astype(np.uint8)
        return (2**bits - 1 - values).astype(values.dtype) if white else values

    return show


def _grey(values: np.ndarray, path: Path) -> np.ndarray:
    """The one channel of a grey image that was saved as a colour one, with opacity or without."""
    opacity = values.shape[-1] in (2, 4)
    colours = values[..., :-1] if opacity else values
    if (colours != colours[..., :1]).any():
        raise ValueError(
            f"{path.name} is in colour: save it as one number per phase, or as grey values"
        )
    return np.ascontiguousarray(colours[..., 0])


def _values(path: Path, tiff: Any, series: list, show: Callable[[np.ndarray], np.ndarray]) -> Any:
    """An array, a memory map, or planes that are read when they are asked for."""
    import zarr

    first = series[0]
    shape = tuple(n for a, n in zip(first.axes, first.shape, strict=True) if n > 1 and a != "S")
    if len(series) == 1 and first.dataoffset is not None and "S" not in first.axes:
        stored = first.dtype.newbyteorder(tiff.byteorder)
        whole = np.memmap(path, stored, "r", first.dataoffset, first.shape)
        probe = show(np.zeros(1, first.dtype))
        if probe[0] == 0 and probe.dtype == first.dtype:
            return whole.reshape(shape if len(shape) >= 2 else first.shape[-2:])
    if len(series) == 1 and len(shape) < 3:
        values = show(np.squeeze(first.asarray()) if len(shape) == 2 else first.asarray())
        return values.reshape(shape if len(shape) == 2 else values.shape[-2:])
    arrays = [zarr.open(s.aszarr(), mode="r") for s in series]
    arrays = [a["0"] if isinstance(a, zarr.Group) else a for a in arrays]
    counts = [s.size // max(1, int(np.prod(s.shape[-2:]))) for s in series]
    if len(series) == 1:
        counts = [shape[0]]
    places = [(a, k) for a, n in zip(arrays, counts, strict=True) for k in range(n)]

    def read(number: int) -> np.ndarray:
        array, k = places[number]
        with _complete(path):
            try:
                plane = _plane_of(array, k)
            except ValueError:
                raise
            except Exception as error:
                raise ValueError(f"{path.name} cannot be read at plane {number}: {error}") from None
        return show(plane)

    probe = read(0)
    return Planes(read, (len(places), *probe.shape), probe.dtype)


def _plane_of(array: Any, k: int) -> np.ndarray:
    """Plane ``k`` of an array with axes of length one before, between or after."""
    leading = next((i for i, n in enumerate(array.shape) if n > 1), 0)
    if array.ndim < 3 or array.ndim == 3 and array.shape[0] == 1:
        return np.squeeze(np.asarray(array[:]))
    return np.squeeze(np.asarray(array[(0,) * leading + (k,)]))


def _voxel_size(tiff: Any) -> tuple[float | None, float | None, float | None]:
    """Micrometres along z, y and x, as far as the file says."""
    if tiff.is_ome:
        found = _ome_voxel_size(tiff.ome_metadata)
        if any(found):
            return found
    page = tiff.pages.first
    across = [_resolution(page, tag) for tag in ("YResolution", "XResolution")]
    if tiff.is_imagej:
        about = tiff.imagej_metadata or {}
        unit = about.get("unit")
        return (
            micrometres(about.get("spacing"), about.get("zunit", unit)),
            *(micrometres(1 / n if n else None, unit) for n in across),
        )  # type: ignore[return-value]
    if tiff.is_sem and "ap_image_pixel_size" in (about := tiff.sem_metadata or {}):
        _, size, unit = about["ap_image_pixel_size"]
        return None, micrometres(size, unit), micrometres(size, unit)
    if tiff.is_fei and "Scan" in (about := tiff.fei_metadata or {}):
        scan = about["Scan"]
        return (
            None,
            micrometres(scan.get("PixelHeight"), "m"),
            micrometres(scan.get("PixelWidth"), "m"),
        )
    unit = page.tags.get("ResolutionUnit")
    per = {2: "inch", 3: "cm"}.get(int(unit.value) if unit else 2)
    y, x = (None if _is_print(n, per) else micrometres(1 / n, per) for n in across)
    return None, y, x


def _resolution(page: Any, tag: str) -> float:
    """Pixels a unit; 0 if the file does not say."""
    found = page.tags.get(tag)
    try:
        top, bottom = found.value
        return top / bottom
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _is_print(resolution: float, per: str | None) -> bool:
    """Whether a resolution is one of printers and screens, whole dots an inch, and no scale."""
    dots = resolution * (2.54 if per == "cm" else 1)
    return not dots or per is None or dots <= 4800 and abs(dots - round(dots)) < 0.02


def _ome_voxel_size(text: str) -> tuple[float | None, float | None, float | None]:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None, None, None
    pixels = next((node for node in root.iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None, None, None
    return tuple(  # type: ignore[return-value]
        micrometres(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "um"))
        for a in "ZYX"
    )
