"""Files of every kind give the values that the screen shows, and keep the size of their voxels."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from files import GREY, PHASES, PICTURES, READS, REFUSED, ome_zarr, slices, tiff

from srlib.data import as_phases, phase_values, read, read_labels, write
from srlib.data import io as data_io


@pytest.mark.parametrize("kind", READS)
def test_every_kind_of_file_gives_what_the_screen_shows(kind, tmp_path):
    image = read(READS[kind](tmp_path))
    assert image.values.shape == GREY.shape
    assert (np.asarray(image.values) == GREY).all()
    # Windows are read as they are sliced, as a training does.
    assert (np.asarray(image.values[2:5, 3:9, 4]) == GREY[2:5, 3:9, 4]).all()
    assert (np.asarray(image.values[-1]) == GREY[-1]).all()
    assert (np.asarray(image.values[:, 5]) == GREY[:, 5]).all()


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
