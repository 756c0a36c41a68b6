"""Bad input: each case is refused in one sentence that says what to do, by our own code."""

import contextlib
import re
import resource
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
import zarr

from srlib import datasets, losses, models, storage, training
from srlib.data import Case, encode_labels, read_labels
from srlib.inference import superres as superres_module
from srlib.inference.streaming import superres_to_file
from srlib.physics import downsampling
from srlib.synthetic import microstructures

SRLIB = Path(datasets.__file__).parent


def labels(shape, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, shape, dtype=np.uint8)


def case(**changes) -> Case:
    given = dict(
        name="mine",
        hr=[labels((60, 50))],
        lr=labels((14, 13, 12)),
        scale_factor=4,
        phases=["a", "b", "c"],
        lr_phases=["a", "b", "c"],
    )
    return Case(**{**given, **changes})


def two_of_three(**changes) -> Case:
    given = dict(lr=labels((14, 13, 12), 2), lr_phases=["a", "b"])
    return case(**{**given, **changes})


def model(**changes) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.SuperResLite(3, 3, 2, **{"width": 4, **changes})


def fit(made: Case, profile: str = "smoke", **changes) -> torch.nn.Module:
    few = dict(iterations=1, check_every=1, width=4, slices=2)
    return training.fit_superres(made, profile, device="cpu", progress=False, **{**few, **changes})


def with_value(value: float) -> np.ndarray:
    image = labels((6, 7)).astype(np.float32)
    image[2, 3] = value
    return image


def last_voxel_of(value: int) -> np.ndarray:
    volume = labels((9, 9, 40))
    volume[-1, -1, -1] = value
    return volume


def tiff(folder: Path, values: np.ndarray, **options) -> Path:
    tifffile.imwrite(folder / "a.tif", values, **options)
    return folder / "a.tif"


def text(folder: Path, name: str) -> Path:
    (folder / name).write_text("z,y,x\n0,1,2\n")
    return folder / name


def shortened(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def saved(path: Path, values) -> Path:
    np.save(path, values)
    return path


def lr_file(folder: Path) -> Path:
    return tiff(folder, labels((9, 9, 9)))


def stream(folder: Path, out: str = "sr.tif", source=None, **options) -> Path:
    return superres_to_file(model(), source or lr_file(folder), folder / out, **options)


def superres(lr, **options) -> np.ndarray:
    return superres_module.superres(model(), lr, **options)


def weights(folder: Path) -> Path:
    return models.save(model(), folder / "w.safetensors")


def altered(folder: Path, **meta) -> Path:
    tensors, about = storage.read(weights(folder))
    return storage.write(folder / "w.safetensors", tensors, {**about, **meta})


def continued(folder: Path, first: dict, second: dict) -> None:
    fit(case(), out=folder, **first)
    fit(case(), out=folder, **second)


def continued_after(folder: Path) -> None:
    fit(case(), out=folder)
    (path,) = folder.glob("*.checkpoint")
    shortened(path)
    fit(case(), out=folder)


@contextlib.contextmanager
def disk_of(size: int):
    """No file can grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_full_disk(call, size: int = 700) -> None:
    with disk_of(size):
        call()


def group(folder: Path) -> Path:
    zarr.open_group(folder / "a.zarr", mode="w")
    return folder / "a.zarr"


ones = torch.ones(1, 3, 8, 8, 8)

PHASES = {
    "text as phases": (lambda _: encode_labels(np.array(["pore"])), "must be numbers"),
    "NaN": (lambda _: encode_labels(with_value(np.nan)), "NaN or infinite .*: mask or fill"),
    "infinity": (lambda _: encode_labels(with_value(np.inf)), "NaN or infinite .*: mask or fill"),
    "no voxels": (lambda _: encode_labels(np.zeros((0, 4))), "is empty"),
    "grey image": (lambda _: encode_labels(np.arange(99)), "look grey: segment the image"),
    "unknown label": (lambda _: encode_labels(labels((5, 5)), [0, 2]), "name every value"),
}
FILES = {
    "no such file": (lambda p: read_labels(p / "a.tif"), "there is no file .*: check the name"),
    "folder": (lambda p: read_labels(p), "holds no slices"),
    "empty file": (lambda p: read_labels(shortened(text(p, "a.tif"), 0)), "fetch or save it again"),
    "text named .tif": (lambda p: read_labels(text(p, "a.tif")), "fetch or save it again"),
    "text named .npy": (lambda p: read_labels(text(p, "a.npy")), "fetch or save it again"),
    "truncated TIFF": (
        lambda p: read_labels(shortened(tiff(p, labels((5, 40, 40))))),
        "or is incomplete: fetch",
    ),
    "truncated compressed TIFF": (
        lambda p: read_labels(shortened(tiff(p, labels((5, 40, 40)), compression="zlib"), 0.7)),
        "is incomplete: fetch",
    ),
    "truncated npy": (
        lambda p: read_labels(shortened(saved(p / "a.npy", labels((9, 9))))),
        "or is incomplete: fetch",
    ),
    "pickled npy": (
        lambda p: read_labels(saved(p / "a.npy", np.array([{}, 1], object))),
        "fetch or save it again",
    ),
    "zarr group": (lambda p: read_labels(group(p)), "holds no array"),
    "colour TIFF": (
        lambda p: read_labels(tiff(p, labels((9, 9, 3)), photometric="rgb")),
        "in colour: save it as one number per phase",
    ),
    "1D": (lambda p: read_labels(saved(p / "a.npy", labels(9))), "a 2D or 3D image is needed"),
    "4D": (lambda p: read_labels(tiff(p, labels((2, 5, 9, 9)))), "save one image or volume of it"),
    "grey TIFF": (
        lambda p: read_labels(tiff(p, labels((30, 30), 200))),
        "look grey: segment the image",
    ),
}
CASES = {
    "fewer fine than coarse phases": (
        lambda _: case(hr=[labels((60, 50), 2)], phases=["a", "b"]),
        "merge phases of the coarse volume",
    ),
    "phases in another order": (
        lambda _: case(lr_phases=["b", "a", "c"]),
        "in another order: name both",
    ),
    "no fine image": (lambda _: case(hr=[]), "list of at least one fine image"),
    "one array for the list": (lambda _: case(hr=labels((60, 50))), "must be a list"),
    "nested lists": (lambda _: case(lr=labels((3, 3, 3)).tolist()), "must be a numpy array"),
    "fine volume": (lambda _: case(hr=[labels((5, 60, 50))]), "fine image must be .* 2 dim"),
    "coarse image": (lambda _: case(lr=labels((13, 12))), "coarse volume must be .* 3 dim"),
    "fine floats": (lambda _: case(hr=[labels((60, 50)) / 1]), "uint8 .*: see encode_labels"),
    "coarse int8": (lambda _: case(lr=labels((9, 9, 9)).view(np.int8)), "see encode_labels"),
    "empty volume": (lambda _: case(lr=labels((0, 9, 9))), "coarse volume is empty"),
    "labels 0 and 128": (lambda _: case(lr=128 * labels((9, 9, 9), 2)), "name the others"),
    "one fine phase": (lambda _: case(hr=[labels((60, 50), 1)]), "one phase only"),
    "one coarse phase": (lambda _: case(lr=labels((9, 9, 9), 1)), "one phase only"),
    "missing fine phase": (
        lambda _: case(hr=[labels((60, 50), 2), labels((40, 40), 2)]),
        "no voxel of the fine image has phase 2, 'c': name in phases those it has",
    ),
    "missing coarse phase": (
        lambda _: case(lr=2 * labels((9, 9, 9), 2)),
        "no voxel of the coarse volume has phase 1, 'b': name in lr_phases those it has",
    ),
    "no phase map": (lambda _: two_of_three(), "say which of the 2 coarse phases"),
    "phase map on its side": (
        lambda _: two_of_three(phase_map=np.eye(3)[:2]),
        "exactly one 1 in each row",
    ),
    "phase map of halves": (
        lambda _: two_of_three(phase_map=np.full((3, 2), 0.5)),
        "exactly one 1 in each row",
    ),
    "ragged phase map": (
        lambda _: two_of_three(phase_map=[[1, 0], [1]]),
        "exactly one 1 in each row",
    ),
    "phase map of names": (lambda _: case(phase_map=["a", "b", "c"]), "exactly one 1 in each row"),
    "two normals for one image": (
        lambda _: case(normals=[0, 1]),
        "one axis .* for each fine image",
    ),
    "axes without image": (lambda _: case(normals=[2]), "leave it out for an isotropic material"),
    "unknown mode": (lambda _: case(mode="bicubic"), "mode must be one of"),
    **{
        f"scale factor {bad}": (
            lambda _, bad=bad: case(scale_factor=bad),
            "from 1 to 10 .*: choose one, such as",
        )
        for bad in (0, -1, 11, float("nan"), "four", None)
    },
    "unknown case": (lambda _: datasets.load("case99"), "choose one of case1"),
    "unknown source": (lambda _: datasets.load("case3", "internet"), "source must be one of"),
    "twin in 1D": (lambda _: microstructures.sofc(0, (64,)), "image or .* volume"),
}
OPERATORS = {
    "blurred labels": (lambda _: downsampling.downsample(ones.byte(), 4), "one_hot first"),
    "volume without batch": (lambda _: downsampling.downsample(ones[0], 4), "add the rest"),
    "indivisible edge": (lambda _: downsampling.downsample(ones[..., :6], 4), "crop it to 4"),
    "unknown operator": (lambda _: downsampling.downsample(ones, 4, "box"), "'blur' or 'nearest'"),
    "unknown offset": (
        lambda _: downsampling.downsample(ones, 4, "nearest", offset="end"),
        "'corner' or 'centre'",
    ),
    "even kernel": (lambda _: downsampling.gaussian_kernel(4, size=4), "odd size"),
    "no blur": (
        lambda _: downsampling.gaussian_kernel(4, sigma=0),
        "for no blur use mode='nearest'",
    ),
    "absent phase": (lambda _: downsampling.simulate_lr(labels((8, 8, 8)), 4, 7), "does not occur"),
    "image to simulate": (
        lambda _: downsampling.simulate_lr(labels((8, 8)), 4, 1),
        "volume, not 2D",
    ),
    "coarse volume of another size": (
        lambda _: losses.voxelwise_loss(ones, ones, 4),
        r"needs an lr of \(2, 2, 2\)",
    ),
    "images of another size": (
        lambda _: losses.gradient_penalty(torch.sum, ones[0], ones[0, :, 1:]),
        "differ in phases or size",
    ),
}
TRAINING = {
    "unknown profile": (lambda _: fit(case(), "huge"), "choose one of smoke, laptop"),
    "unknown recipe field": (
        lambda _: fit(case(), epochs=5),
        "see the fields of srlib.training.Recipe",
    ),
    "recipe without iterations": (lambda _: fit(case(), iterations=0), "1 or more"),
    "window that the critic cannot see": (lambda _: fit(case(), window=12), "use a larger one"),
    "window that is no whole cube": (lambda _: fit(case(), window=30), "crop it to 28"),
    "volume smaller than a window": (
        lambda _: fit(case(lr=labels((9, 14, 14)))),
        "window of 12 does not fit .*: use a larger",
    ),
    "image smaller than a window": (
        lambda _: fit(case(hr=[labels((20, 90))])),
        "does not fit into any fine image .*: use larger images",
    ),
    "scale factor 1.6": (
        lambda _: fit(case(scale_factor=1.6), network="paper", window=64, halo=0),
        "needs a whole scale factor",
    ),
    "scale factor 16/3": (lambda _: models.SuperResLite(3, 3, 16 / 3), "resample the images"),
    "scale factor of pi": (lambda _: models.SuperResLite(3, 3, 3.1416), "choose one, 201/64"),
    "published network at 3": (lambda _: models.SuperRes(3, 3, 3), "take SuperResLite"),
    "tiles that divide voxels": (
        lambda _: superres_module.superres(
            models.SuperResLite(2, 2, 1.6, grid_alignment="centre"), labels((22, 22, 21), 2)
        ),
        "must be multiples of 5 coarse voxels",
    ),
    "generator without phase map": (lambda _: models.SuperResLite(2, 3, 4), "give a phase_map"),
    "unknown device": (
        lambda _: training.fit_superres(case(), "smoke", device="gpu"),
        "use 'cpu' or 'cuda'",
    ),
    "folder that is a file": (
        lambda p: fit(case(), out=text(p, "out")),
        "cannot write .*: .* choose another folder",
    ),
    "folder that no one can write": (
        lambda _: fit(case(), out="/proc/srlib"),
        "cannot write .*: .* choose another folder",
    ),
    "checkpoint of another recipe": (
        lambda p: continued(p, {}, {"consistency_threshold": 0.1}),
        "another recipe, seed or data: choose another folder",
    ),
    "truncated checkpoint": (continued_after, "damaged"),
}
INFERENCE = {
    "labels above the model's": (lambda _: superres(labels((5, 5, 5), 4)), "uint8 phases 0 to 2"),
    "float volume": (lambda _: superres(labels((5, 5, 5)) / 2), "see srlib.data.encode_labels"),
    "nested lists to super-resolve": (
        lambda _: superres(labels((5, 5, 5)).tolist()),
        "see srlib.data.encode_labels",
    ),
    "image to super-resolve": (lambda _: superres(labels((5, 5))), r"must be \(D, H, W\)"),
    "tile 0": (lambda _: superres(labels((5, 5, 5)), tile=0), "tile must be a whole number"),
    "tile 2.5": (lambda _: superres(labels((5, 5, 5)), tile=2.5), "tile must be a whole number"),
    "tile 'big'": (lambda _: superres(labels((5, 5, 5)), tile="big"), "tile must be a whole"),
    "crop below 0": (lambda _: superres(labels((5, 5, 5)), crop=-1), "crop must be a whole number"),
    "crop too large": (lambda _: superres(labels((9, 4, 9)), crop=2), "or crop=0"),
    "no generator of ours": (
        lambda _: superres_module.superres(torch.nn.Linear(2, 2), labels((5, 5, 5))),
        "load or train one with srlib",
    ),
    "tiles at scale factor 1.6": (
        lambda _: superres_module.superres(models.SuperRes(3, 3, 1.6), labels((5, 5, 5))),
        "whole scale factor",
    ),
    "stream from nothing": (
        lambda p: stream(p, source=p / "b.tif"),
        "there is no file .*: check the name",
    ),
    "stream a text file": (lambda p: stream(p, source=text(p, "b.tif")), "fetch or save it again"),
    "stream a colour image": (
        lambda p: stream(p, source=tiff(p, labels((9, 9, 3)), photometric="rgb")),
        "is in colour: save it as one number per phase",
    ),
    "stream an image": (lambda p: stream(p, source=tiff(p, labels((9, 9)))), r"\(D, H, W\)"),
    "stream grey values": (
        lambda p: stream(p, source=tiff(p, labels((9, 9, 9), 200))),
        "look grey: segment the image first",
    ),
    "stream an unknown phase in the last tile": (
        lambda p: stream(p, source=tiff(p, last_voxel_of(7)), tile=4),
        "has the values 0, 1, 2, 7, but 3 phases are needed",
    ),
    "stream with the address of a cluster": (
        lambda p: stream(p, "sr.zarr", client="tcp://localhost:8786"),
        "must be a dask.distributed.Client, not 'tcp",
    ),
    "stream a TIFF with a cluster": (
        lambda p: stream(p, client=SimpleNamespace(scheduler_info=None)),
        "cannot write one TIFF safely: name the output sr.zarr",
    ),
    "stream to .png": (lambda p: stream(p, "sr.png"), "must end in .tif"),
    "stream into a file": (
        lambda p: stream(p, f"{text(p, 'out').name}/sr.tif"),
        "cannot be written to: choose another folder",
    ),
    "zarr into a file": (
        lambda p: stream(p, f"{text(p, 'out').name}/sr.zarr"),
        "cannot be written to: choose another folder",
    ),
    "full disk, TIFF": (
        lambda p: on_a_full_disk(partial(stream, p, source=lr_file(p))),
        "cannot write .*: free some space",
    ),
    "full disk, zarr": (
        lambda p: on_a_full_disk(partial(stream, p, "sr.zarr", lr_file(p))),
        "cannot write .*: free some space",
    ),
}
WEIGHTS = {
    "unknown weights": (lambda _: models.load("case99-real-0"), "there are no weights"),
    "no such weights": (lambda p: models.load(p / "w.safetensors"), "check the name"),
    "truncated weights": (lambda p: models.load(shortened(weights(p))), "damaged or no weights"),
    "empty weights": (lambda p: models.load(shortened(weights(p), 0)), "damaged or no weights"),
    "text as weights": (lambda p: models.load(text(p, "w.safetensors")), "damaged or no weights"),
    "weights of another size": (
        lambda p: models.load(altered(p, config={**model().config, "width": 8})),
        "train it anew",
    ),
    "weights of another model": (lambda p: models.load(altered(p, model="GPT")), "train it anew"),
    "weights with another setting": (
        lambda p: models.load(altered(p, config={**model().config, "depth": 8})),
        "train it anew",
    ),
    "weights into a file": (
        lambda p: models.save(model(), text(p, "out") / "w.safetensors"),
        "cannot write .*: .* choose another folder",
    ),
    "weights on a full disk": (
        lambda p: on_a_full_disk(partial(weights, p)),
        "cannot write .*: free some space",
    ),
}
ALL = {**PHASES, **FILES, **CASES, **OPERATORS, **TRAINING, **INFERENCE, **WEIGHTS}


@pytest.mark.parametrize("name", ALL)
def test_bad_input_is_refused_in_one_sentence(name, tmp_path):
    call, hint = ALL[name]
    with pytest.raises((ValueError, OSError)) as caught:
        call(tmp_path)
    message = str(caught.value)
    assert re.search(hint, message), message
    assert len(message) < 250 + len(str(tmp_path)) and "\n" not in message
    assert ". " not in message and "None" not in message.replace("or None", "")
    assert not list(tmp_path.rglob(".*")), "nothing half done is left"
    assert SRLIB in Path(caught.traceback[-1].path).parents
    shown = "".join(traceback.format_exception(caught.value))
    assert not re.search(r'File ".*/(torch|numpy|tifffile|zarr|safetensors)/', shown)


def test_there_are_many_cases():
    assert len(ALL) >= 40
    assert len(ALL) == sum(
        map(len, (PHASES, FILES, CASES, OPERATORS, TRAINING, INFERENCE, WEIGHTS))
    )


def test_a_full_disk_leaves_no_file(tmp_path):
    lr = lr_file(tmp_path)
    for out in ("sr.tif", "sr.zarr", "w.safetensors"):
        with pytest.raises(OSError, match="free some space"), disk_of(700):
            weights(tmp_path) if out[0] == "w" else stream(tmp_path, out, source=lr)
        assert [p.name for p in tmp_path.iterdir()] == ["a.tif"], out


def test_the_good_neighbours_of_these_cases_are_accepted(tmp_path):
    """What the cases above change, unchanged: none of them fails for another reason."""
    volume = labels((9, 9, 9))
    assert np.array_equal(read_labels(tiff(tmp_path, volume, bigtiff=True)), volume)
    assert np.array_equal(read_labels(tiff(tmp_path, volume, compression="zlib")), volume)
    two_of_three(phase_map=[[1, 0], [0, 1], [1, 0]])
    made = case(hr=[labels((60, 50), 2), labels((40, 40), 3)])
    assert replace(made, normals=None).scale_factor == 4
    fit(made, out=tmp_path / "out")
    fit(made, out=tmp_path / "out")
    assert superres(volume, tile=2, crop=4).shape == (2, 2, 2)
    assert stream(tmp_path, "new/sr.tif").exists() and stream(tmp_path, "sr.zarr").exists()
    for values, options in ((volume, {"compression": "zlib"}), (volume / np.float32(2), {})):
        same = stream(tmp_path, "other.tif", source=tiff(tmp_path, values, **options))
        assert (read_labels(same) == read_labels(tmp_path / "new/sr.tif")).all()
    assert models.load(weights(tmp_path)).n_lr == 3
