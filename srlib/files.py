"""Segmented images and volumes on disk: TIFF, .npy and zarr."""

import logging
from pathlib import Path

import numpy as np

from srlib.metrics.labels import MAX_PHASES


def encode_labels(values: np.ndarray, labels: list[float] | None = None) -> np.ndarray:
    """Phases 0, 1, 2 ... of an image whose phases have other numbers, such as 0, 85 and 170.

    Args:
        values: Segmented image or volume of any numeric type.
        labels: The value of phase 0, 1, ...; None for the sorted values that occur.

    Returns:
        ``uint8`` of the same shape.

    Raises:
        ValueError: for NaN, unknown values, or so many that it must be a grey image.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "buif":
        raise ValueError(f"phases must be numbers, not {values.dtype}")
    if values.size == 0:
        raise ValueError(f"the image is empty: its shape is {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("the image has NaN or infinite values: mask or fill them first")
    found = np.unique(values)
    if labels is None:
        if len(found) > MAX_PHASES:
            raise ValueError(f"{len(found)} different values look grey: segment the image first")
        labels = found.tolist()
    unknown = np.setdiff1d(found, labels)
    if unknown.size:
        raise ValueError(
            f"value {unknown[0]} ({(values == unknown[0]).sum()} of {values.size}) is none of "
            f"{list(labels)}: name every value in labels, or remove stray ones"
        )
    order = np.argsort(labels)
    return order[np.searchsorted(np.asarray(labels)[order], values)].astype(np.uint8)


def read_labels(path: str | Path, labels: list[float] | None = None) -> np.ndarray:
    """Read a segmented TIFF (also BigTIFF), ``.npy`` or zarr array as phases 0, 1, 2 ...

    Args:
        path: The file. A stack of one image is an image.
        labels: As in :func:`encode_labels`.

    Returns:
        ``uint8`` ``(H, W)`` or ``(D, H, W)``.

    Raises:
        ValueError: if it is missing, damaged, in colour, grey, or of other dimensions.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file {path.absolute()}: check the name")
    colour = False
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".zarr":
            import zarr

            values = np.asarray(zarr.open_array(path, mode="r"))
        else:
            values, colour = _read_tiff(path)
    except Exception:
        raise ValueError(
            f"{path.name} is not a TIFF, .npy or .zarr file that can be read, or is incomplete: "
            "fetch or save it again"
        ) from None
    if colour:
        raise ValueError(f"{path.name} is in colour: save it as one number per phase")
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim not in (2, 3):
        raise ValueError(f"{path.name} has the shape {values.shape}: a 2D or 3D image is needed")
    try:
        return encode_labels(values, labels)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _read_tiff(path: Path) -> tuple[np.ndarray, bool]:
    """Values, and whether they are colours; missing pages, which tifffile only logs, are raised."""
    import tifffile

    errors, handler, log = [], logging.Handler(logging.ERROR), logging.getLogger("tifffile")
    handler.emit = errors.append
    log.addHandler(handler)
    try:
        with tifffile.TiffFile(path) as tiff:
            values, axes = tiff.series[0].asarray(), tiff.series[0].axes
            if len(tiff.series) > 1:  # written page by page or piece by piece
                pieces = [series.asarray() for series in tiff.series]
                values = np.concatenate([p[None] if p.ndim == 2 else p for p in pieces])
    finally:
        log.removeHandler(handler)
    if errors:
        raise ValueError(errors[0].getMessage())
    return values, "S" in axes


def open_volume(path: str | Path):
    """A volume on disk as something that can be sliced: TIFF (memory-mapped) or zarr array.

    Raises:
        ValueError: if it cannot be read in parts: a compressed TIFF, or no volume at all.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file {path.absolute()}: check the name")
    try:
        if path.suffix == ".zarr":
            import zarr

            return zarr.open_array(path, mode="r")
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            if "S" in tiff.series[0].axes or len(tiff.series) > 1:
                raise ValueError("in colour, or in several pieces")
        return tifffile.memmap(path, mode="r")
    except Exception:
        raise ValueError(
            f"{path.name} cannot be read in parts: save it as zarr or as one uncompressed TIFF, "
            f"with tifffile.imwrite('plain.tif', tifffile.imread('{path.name}'))"
        ) from None
