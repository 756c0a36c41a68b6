"""Files of every kind, good and bad, for the tests of the reader and of the commands."""

from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk
import tifffile
import zarr
from PIL import Image

RNG = np.random.default_rng(0)
GREY = RNG.integers(10, 240, (7, 20, 24)).astype(np.uint8)
PHASES = RNG.integers(0, 3, (7, 20, 24)).astype(np.uint8)


def pages(path: Path, planes, **options) -> Path:
    """A TIFF written page after page by Pillow, as scanners do."""
    first, *rest = [Image.fromarray(np.ascontiguousarray(p)) for p in planes]
    first.save(path, save_all=True, append_images=rest, **options)
    return path


def tiff(path: Path, values, **options) -> Path:
    tifffile.imwrite(path, values, **options)
    return path


def appended(path: Path, pieces, **options) -> Path:
    for piece in pieces:
        tifffile.imwrite(path, piece, append=True, **options)
    return path


def with_thumbnail(path: Path, first: bool) -> Path:
    with tifffile.TiffWriter(path) as file:
        for values in (GREY[0, ::4, ::4], GREY)[:: 1 if first else -1]:
            file.write(values, metadata=None)
    return path


def slices(path: Path, numbers, ending: str = ".tif") -> Path:
    path.mkdir()
    for number, plane in zip(numbers, GREY, strict=False):
        Image.fromarray(plane).save(path / f"slice_{number}{ending}")
    return path


def ome_zarr(path: Path, version: str, scale=(0.4, 0.1, 0.1), levels=True) -> Path:
    """A group as other programs write it: channel and time axes of one, levels, scales."""
    old = version == "0.4"
    group = zarr.open_group(path, mode="w", zarr_format=2 if old else 3)
    for level in range(1 + levels):
        values = GREY[None, :, :: 2**level, :: 2**level]
        group.create_array(str(level), data=np.ascontiguousarray(values))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    sets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, scale[0], *(s * 2**level for s in scale[1:])]}
            ],
        }
        for level in range(1 + levels)
    ]
    images = [{"version": version, "axes": axes, "datasets": sets}]
    group.attrs.update({"multiscales": images} if old else {"ome": {"multiscales": images}})
    return path


def hdf5(path: Path, **sets) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in sets.items():
            file[name] = values
            file[name].attrs["element_size_um"] = [0.4, 0.1, 0.1]
    return path


def shortened(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def half_of_ome(path: Path) -> Path:
    """One file of an OME-TIFF of two."""
    planes = "".join(
        f'<TiffData IFD="{k % 4}" FirstZ="{k}" PlaneCount="1">'
        f'<UUID FileName="part{1 + k // 4}.ome.tif">urn:uuid:{k // 4}</UUID></TiffData>'
        for k in range(8)
    )
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:0"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint8" SizeX="24" SizeY="20" SizeZ="8" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )
    return tiff(path / "part1.ome.tif", GREY[:4], description=text, metadata=None)


def ragged(path: Path) -> Path:
    with tifffile.TiffWriter(path) as file:
        for k in range(4):
            file.write(GREY[k, : 20 - k], metadata=None)
    return path


def mixed(path: Path) -> Path:
    slices(path, range(1, 5))
    Image.fromarray(GREY[0, :-2]).save(path / "slice_9.tif")
    return path


def two_kinds(path: Path) -> Path:
    slices(path, range(1, 5))
    Image.fromarray(GREY[0]).save(path / "slice_9.png")
    return path


def text(path: Path, content: str = "not an image") -> Path:
    path.write_text(content)
    return path


READS = {
    "tiff": lambda d: tiff(d / "a.tif", GREY),
    "BigTIFF": lambda d: tiff(d / "a.tif", GREY, bigtiff=True),
    "big-endian": lambda d: tiff(d / "a.tif", GREY.astype(">u2"), byteorder=">"),
    "ImageJ": lambda d: tiff(d / "a.tif", GREY, imagej=True, metadata={"axes": "ZYX"}),
    "ImageJ hyperstack": lambda d: tiff(
        d / "a.tif", GREY[None, :, None], imagej=True, metadata={"axes": "TZCYX"}
    ),
    "OME": lambda d: tiff(d / "a.ome.tif", GREY[None, None], metadata={"axes": "TCZYX"}),
    "zlib": lambda d: tiff(d / "a.tif", GREY, compression="zlib"),
    "LZW": lambda d: tiff(d / "a.tif", GREY, compression="lzw"),
    "LZW with a predictor": lambda d: tiff(d / "a.tif", GREY, compression="lzw", predictor=True),
    "LZW of libtiff": lambda d: pages(d / "a.tif", GREY, compression="tiff_lzw"),
    "PackBits": lambda d: pages(d / "a.tif", GREY, compression="packbits"),
    "deflate of libtiff": lambda d: pages(d / "a.tif", GREY, compression="tiff_adobe_deflate"),
    "zstd": lambda d: tiff(d / "a.tif", GREY, compression="zstd"),
    "tiled": lambda d: tiff(d / "a.tif", GREY, tile=(16, 16)),
    "tiles of volumes": lambda d: tiff(d / "a.tif", GREY, tile=(16, 16, 16)),
    "rows a strip": lambda d: tiff(d / "a.tif", GREY, rowsperstrip=3),
    "palette": lambda d: tiff(
        d / "a.tif", GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    ),
    "white is zero": lambda d: tiff(d / "a.tif", 255 - GREY, photometric="miniswhite"),
    "white is zero, packed": lambda d: tiff(
        d / "a.tif", 255 - GREY, photometric="miniswhite", compression="zlib"
    ),
    "white is zero, 16 bit": lambda d: tiff(
        d / "a.tif", 65535 - GREY.astype(np.uint16), photometric="miniswhite"
    ),
    "pages appended": lambda d: appended(d / "a.tif", GREY),
    "blocks appended": lambda d: appended(d / "a.tif", np.split(GREY, [2, 5])),
    "pages and blocks": lambda d: appended(d / "a.tif", [GREY[0], GREY[1:5], GREY[5:]]),
    "pages without metadata": lambda d: appended(d / "a.tif", GREY, metadata=None),
    "thumbnail first": lambda d: with_thumbnail(d / "a.tif", True),
    "thumbnail last": lambda d: with_thumbnail(d / "a.tif", False),
    "grey saved as colours": lambda d: tiff(
        d / "a.tif", np.stack([GREY] * 3, -1), photometric="rgb"
    ),
    "colours in planes": lambda d: tiff(
        d / "a.tif", np.stack([GREY] * 3, 1), photometric="rgb", planarconfig="separate"
    ),
    "folder": lambda d: slices(d / "a", range(1, 8)),
    "folder past ten": lambda d: slices(d / "a", range(6, 13)),
    "folder of PNG": lambda d: slices(d / "a", range(98, 105), ".png"),
    "npy": lambda d: np.save(d / "a.npy", GREY) or d / "a.npy",
    "zarr": lambda d: zarr.save_array(d / "a.zarr", GREY) or d / "a.zarr",
    "OME-Zarr 0.4": lambda d: ome_zarr(d / "a.ome.zarr", "0.4"),
    "OME-Zarr 0.5": lambda d: ome_zarr(d / "a.ome.zarr", "0.5"),
    "level of an OME-Zarr": lambda d: ome_zarr(d / "a.ome.zarr", "0.5") / "0",
    "zarr group of one": lambda d: zarr.save_group(d / "a.zarr", v=GREY) or d / "a.zarr",
    "HDF5": lambda d: hdf5(d / "a.h5", volume=GREY),
    "HDF5 by name": lambda d: Path(f"{hdf5(d / 'a.h5', v=GREY, w=GREY + 1)}:/v"),
    "NRRD": lambda d: sitk.WriteImage(sitk.GetImageFromArray(GREY), d / "a.nrrd") or d / "a.nrrd",
    "NRRD packed": lambda d: (
        sitk.WriteImage(sitk.GetImageFromArray(GREY), d / "a.nrrd", True) or d / "a.nrrd"
    ),
    "MHA": lambda d: sitk.WriteImage(sitk.GetImageFromArray(GREY), d / "a.mha") or d / "a.mha",
    "NIfTI": lambda d: (
        sitk.WriteImage(sitk.GetImageFromArray(GREY), d / "a.nii.gz") or d / "a.nii.gz"
    ),
    "odd name": lambda d: tiff(d / "Größe µm 試料.TIF", GREY),
}


PICTURES = {
    "PNG": lambda d: Image.fromarray(PHASES[0]).save(d / "a.png") or d / "a.png",
    "BMP": lambda d: Image.fromarray(PHASES[0]).save(d / "a.bmp") or d / "a.bmp",
    "stack of one": lambda d: tiff(d / "a.tif", PHASES[:1]),
    "colours and opacity": lambda d: (
        Image.fromarray(np.dstack([PHASES[0]] * 3 + [np.full_like(PHASES[0], 255)])).save(
            d / "a.png"
        )
        or d / "a.png"
    ),
    "float": lambda d: tiff(d / "a.tif", PHASES[0] * np.float32(0.3)),
    "signed": lambda d: tiff(d / "a.tif", PHASES[0].astype(np.int8) - 1),
    "large numbers": lambda d: tiff(d / "a.tif", PHASES[0].astype(np.int32) * 100000),
    "0, 85 and 170": lambda d: pages(d / "a.tif", PHASES[:1] * 85, compression="tiff_lzw"),
    "white is zero": lambda d: tiff(d / "a.tif", 255 - 85 * PHASES[0], photometric="miniswhite"),
}


REFUSED = {
    "missing": (lambda d: d / "a.tif", "there is no file"),
    "one file of two": (half_of_ome, r"part2\.ome\.tif is not beside it"),
    "cut short": (lambda d: shortened(tiff(d / "a.tif", GREY)), "incomplete"),
    "cut short, packed": (
        lambda d: shortened(tiff(d / "a.tif", GREY, compression="lzw")),
        "incomplete",
    ),
    "cut short, npy": (lambda d: shortened(READS["npy"](d)), "incomplete"),
    "cut short, NRRD": (lambda d: shortened(READS["NRRD"](d)), "incomplete"),
    "cut short, HDF5": (lambda d: shortened(READS["HDF5"](d), 0.3), "incomplete"),
    "cut short, PNG": (lambda d: shortened(PICTURES["PNG"](d)), "incomplete"),
    "text": (lambda d: text(d / "a.tif"), "fetch or save it again"),
    "text as NRRD": (lambda d: text(d / "a.nrrd"), "fetch or save it again"),
    "text as HDF5": (lambda d: text(d / "a.h5"), "fetch or save it again"),
    "raw": (lambda d: text(d / "a.raw"), r"np\.fromfile\('a\.raw'"),
    "of a microscope": (lambda d: text(d / "a.czi"), "export it as TIFF"),
    "colours": (
        lambda d: tiff(d / "a.tif", RNG.integers(0, 255, (9, 9, 3), np.uint8), photometric="rgb"),
        "in colour",
    ),
    "two channels": (
        lambda d: tiff(
            d / "a.tif", np.stack([GREY, GREY], 1), imagej=True, metadata={"axes": "ZCYX"}
        ),
        "2 channels",
    ),
    "time steps": (
        lambda d: tiff(d / "a.tif", np.stack([GREY, GREY]), imagej=True, metadata={"axes": "TZYX"}),
        "save one image or volume of it",
    ),
    "pages of several sizes": (lambda d: ragged(d / "a.tif"), "do not fit together"),
    "empty folder": (lambda d: (d / "a").mkdir() or d / "a", "holds no slices"),
    "folder of two kinds": (lambda d: two_kinds(d / "a"), "keep one kind"),
    "folder of two sizes": (lambda d: mixed(d / "a"), r"slice_9\.tif is \(18, 24\)"),
    "no dataset named": (lambda d: hdf5(d / "a.h5", v=GREY, w=GREY), r"name one as a\.h5:/v"),
    "no such dataset": (lambda d: Path(f"{hdf5(d / 'a.h5', v=GREY)}:/w"), "no dataset 'w'"),
    "group of two": (
        lambda d: zarr.save_group(d / "a.zarr", v=GREY, w=GREY) or d / "a.zarr",
        r"name one as a\.zarr/v",
    ),
    "five axes": (
        lambda d: np.save(d / "a.npy", np.zeros((2, 2, 2, 2))) or d / "a.npy",
        "2D or 3D",
    ),
    "no numbers": (lambda d: np.save(d / "a.npy", np.full((3, 3), "a")) or d / "a.npy", "numbers"),
}
