"""Files of every kind give the values that the screen shows, and keep the size of their voxels."""

import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from PIL import Image

from srlib.data import as_phases, phase_values, read, read_labels, write
from srlib.data import io as data_io

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


@pytest.mark.parametrize("kind", READS)
def test_every_kind_of_file_gives_what_the_screen_shows(kind, tmp_path):
    image = read(READS[kind](tmp_path))
    assert image.values.shape == GREY.shape
    assert (np.asarray(image.values) == GREY).all()
    # Windows are read as they are sliced, as a training does.
    assert (np.asarray(image.values[2:5, 3:9, 4]) == GREY[2:5, 3:9, 4]).all()
    assert (np.asarray(image.values[-1]) == GREY[-1]).all()
    assert (np.asarray(image.values[:, 5]) == GREY[:, 5]).all()


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


@pytest.mark.parametrize("kind", PICTURES)
def test_images_of_phases(kind, tmp_path):
    assert (read_labels(PICTURES[kind](tmp_path)) == PHASES[0]).all()


@pytest.mark.parametrize("white", [False, True])
def test_one_bit_is_phase_one_where_the_screen_is_white(white, tmp_path):
    solid = PHASES[0] > 0
    stored = ~solid if white else solid
    photometric = "miniswhite" if white else "minisblack"
    found = read_labels(tiff(tmp_path / "a.tif", stored, photometric=photometric))
    assert (found == solid).all()


def test_what_is_done_with_a_file_is_said(tmp_path):
    for kind, word in {
        "white is zero": "white is zero",
        "palette": "palette",
        "blocks appended": "3 pieces",
        "thumbnail first": "left out",
    }.items():
        folder = tmp_path / kind
        folder.mkdir()
        assert any(word in note for note in read(READS[kind](folder)).notes), kind


@pytest.mark.parametrize("absent", [[3], [2, 5], [4, 5, 6]])
def test_missing_slices_of_a_folder_are_named(absent, tmp_path):
    numbers = [n for n in range(1, 11) if n not in absent]
    (note,) = read(slices(tmp_path / "a", numbers)).notes
    assert f"{len(absent)} slices are missing ({', '.join(map(str, absent))})" in note


SIZES = {
    "ImageJ": lambda d: tiff(
        d / "a.tif",
        GREY,
        imagej=True,
        resolution=(10, 5),
        metadata={"axes": "ZYX", "spacing": 0.4, "unit": "um"},
    ),
    "ImageJ in nm": lambda d: tiff(
        d / "a.tif",
        GREY,
        imagej=True,
        resolution=(0.01, 0.005),
        metadata={"axes": "ZYX", "spacing": 400, "unit": "nm"},
    ),
    "ImageJ micron": lambda d: tiff(
        d / "a.tif",
        GREY,
        imagej=True,
        byteorder=">",
        resolution=(10, 5),
        metadata={"axes": "ZYX", "spacing": 0.4, "unit": "micron"},
    ),
    "OME": lambda d: tiff(
        d / "a.ome.tif",
        GREY,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeZ": 400,
            "PhysicalSizeZUnit": "nm",
            "PhysicalSizeY": 0.2,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeX": 0.1,
            "PhysicalSizeXUnit": "µm",
        },
    ),
    "OME-Zarr 0.4": lambda d: ome_zarr(d / "a.ome.zarr", "0.4", (0.4, 0.2, 0.1)),
    "OME-Zarr 0.5": lambda d: ome_zarr(d / "a.ome.zarr", "0.5", (0.4, 0.2, 0.1)),
}


@pytest.mark.parametrize("kind", SIZES)
def test_voxel_sizes_come_in(kind, tmp_path):
    assert read(SIZES[kind](tmp_path)).voxel_size == pytest.approx((0.4, 0.2, 0.1))


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_spacings_of_itk_are_millimetres(ending, tmp_path):
    image = sitk.GetImageFromArray(GREY)
    image.SetSpacing((0.1, 0.2, 0.4))
    sitk.WriteImage(image, tmp_path / f"a{ending}")
    found = read(tmp_path / f"a{ending}")
    assert found.voxel_size == pytest.approx((400, 200, 100))
    assert any("millimetres" in note for note in found.notes)


def test_a_unit_in_an_nrrd_header_counts(tmp_path):
    head = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 24 20 7\nspacings: 0.1 0.2 0.4\n"
    head += b'units: "um" "um" "um"\nencoding: raw\n\n'
    (tmp_path / "a.nrrd").write_bytes(head + GREY.tobytes())
    assert read(tmp_path / "a.nrrd").voxel_size == pytest.approx((0.4, 0.2, 0.1))


def test_resolutions_of_printers_are_no_voxel_sizes(tmp_path):
    for dots in (72, 96, 300, 1200):
        options = dict(resolution=(dots, dots), resolutionunit="INCH")
        assert read(tiff(tmp_path / "a.tif", GREY[0], **options)).voxel_size is None
    options = dict(resolution=(1e5, 1e5), resolutionunit="CENTIMETER")
    assert read(tiff(tmp_path / "b.tif", GREY[0], **options)).voxel_size == pytest.approx(
        (0.1,) * 2
    )


ENDINGS = [".tif", ".ome.tif", ".zarr", ".ome.zarr", ".nrrd", ".mha"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [(0.1, 0.1, 0.1), (0.4, 0.2, 0.1)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_what_is_written_is_read(ending, size, dtype, tmp_path):
    path, values = tmp_path / f"a{ending}", GREY.astype(dtype)
    write(path, values, size, "made by a test")
    found = read(path)
    assert found.values.dtype == dtype and (np.asarray(found.values) == values).all()
    assert found.voxel_size == pytest.approx(size, rel=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_other_programs_read_what_is_written(tmp_path):
    size, text = (0.4, 0.2, 0.1), "made by a test"
    for ending in ENDINGS:
        write(tmp_path / f"a{ending}", GREY, size, text)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        about, tags = file.imagej_metadata, file.pages[0].tags
        assert about["unit"] == "um" and about["spacing"] == pytest.approx(0.4)
        assert about["Info"] == text and file.series[0].axes == "ZYX"
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(10)
        assert tags["YResolution"].value[0] / tags["YResolution"].value[1] == pytest.approx(5)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [pixels[f"PhysicalSize{a}"] for a in "ZYX"] == pytest.approx(size)
        assert pixels["PhysicalSizeXUnit"] == "µm" and text in file.ome_metadata
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    (image,) = group.attrs["ome"]["multiscales"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == pytest.approx(size)
    assert {a["unit"] for a in image["axes"]} == {"micrometer"}
    assert (group["0"][:] == GREY).all()
    assert zarr.open_array(tmp_path / "a.zarr", mode="r").attrs["voxel_size_um"] == list(size)
    for ending in (".nrrd", ".mha"):
        image = sitk.ReadImage(tmp_path / f"a{ending}")
        assert image.GetSpacing() == pytest.approx((1e-4, 2e-4, 4e-4))
        assert (sitk.GetArrayFromImage(image) == GREY).all()


def test_without_a_voxel_size_none_is_made_up(tmp_path):
    for ending in ENDINGS:
        write(tmp_path / f"a{ending}", GREY)
        assert read(tmp_path / f"a{ending}").voxel_size is None, ending


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


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(kind, tmp_path):
    make, words = REFUSED[kind]
    path = make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words) as error:
            np.asarray(read(path).values)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_the_advice_for_a_raw_file_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.raw").write_bytes(GREY.tobytes())
    with pytest.raises(ValueError) as error:
        read("a.raw")
    advice = str(error.value).split(" by ")[1]
    depth, height, width = GREY.shape
    exec(advice, {"np": np, "depth": depth, "height": height, "width": width})
    assert (np.asarray(read("volume.npy").values) == GREY).all()


def test_phases_of_a_volume_are_made_as_it_is_read(tmp_path):
    kinds = {"plain": PHASES, "spread": PHASES * 85, "signed": PHASES.astype("i2") - 1}
    for name, values in kinds.items():
        image = read(tiff(tmp_path / f"{name}.tif", values, compression="zlib"))
        phases = as_phases(image, phase_values(image, 3)).values
        assert phases.dtype == np.uint8 and (np.asarray(phases[1:4]) == PHASES[1:4]).all()
    # Phases that do not occur keep their number, where it is known how many there are.
    few = read(tiff(tmp_path / "few.tif", np.where(PHASES == 1, 0, PHASES).astype(np.uint8)))
    assert phase_values(few) == [0, 2] and phase_values(few, 3) == [0, 1, 2]
    other = read(tiff(tmp_path / "other.tif", np.where(PHASES == 1, 0, PHASES * 85)))
    with pytest.raises(ValueError, match="has the values 0, 170, but 3 phases"):
        phase_values(other, 3)
    named = as_phases(other, [0, 85, 170]).values
    assert (np.asarray(named) == np.where(PHASES == 1, 0, PHASES)).all()
    with pytest.raises(ValueError, match="look grey"):
        phase_values(read(READS["tiff"](tmp_path)))


def test_opening_reads_no_more_than_a_plane(tmp_path, monkeypatch):
    """A volume of 2 GB, of which nothing is stored, is opened and sliced at once."""
    path = tmp_path / "large.zarr"
    zarr.create_array(path, shape=(2048, 1024, 1024), chunks=(1, 1024, 1024), dtype="u1")
    image = read(path)
    assert np.asarray(image.values[1000, :3, :3]).sum() == 0
    tifffile.memmap(tmp_path / "large.tif", shape=(2048, 1024, 1024), dtype="u1")
    assert np.asarray(read(tmp_path / "large.tif").values[1000]).sum() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="rights of folders are others there")
def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    source = READS["tiff"](tmp_path)
    for name, words in {
        "b.png": "must end in",
        "a.tif": "is the input itself",
        "c.npy": "must end in",
    }.items():
        with pytest.raises(ValueError, match=words):
            data_io.check_output(source, tmp_path / name)
    data_io.check_output(source, tmp_path / "B.TIF")
    (tmp_path / "there.tif").write_bytes(b"")
    with pytest.raises(ValueError, match="is there already"):
        data_io.check_output(source, tmp_path / "there.tif", overwrite=False)
