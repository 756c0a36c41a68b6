"""What ``srlib inspect`` says: planted faults by name, nothing about good files; its numbers."""

import json
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter, zoom

from srlib.cli import main
from srlib.data import find_file, io
from srlib.data.blur_estimation import _grey_curves, estimate_blur
from srlib.data.inspection import direction, inspect_image, inspect_sections
from srlib.data.pairing import inspect_pair
from srlib.metrics.representativeness import integral_range, representativeness
from srlib.synthetic import filled_rubber, microstructures


def field(seed, shape, sigma, fraction=None):
    """A Gaussian random field, or the share of it that is highest."""
    values = microstructures.field(shape, sigma, np.random.default_rng(seed))
    return values if fraction is None else (values > np.quantile(values, 1 - fraction)).astype("u1")


@cache
def rubber():
    return filled_rubber.stack("harder", 3, (40, 96, 96))


def noisy(stack, sd, seed=0):
    noise = np.random.default_rng(seed).normal(0, sd, stack.shape)
    return np.clip(stack + noise, 0, 255).astype(np.uint8)


def warned(report):
    return {f.kind for f in report.findings if f.severity != "info"}


# ---- good files: nothing is said


def eight_bit():
    return noisy(128 + 40 * field(1, (32, 96, 96), 2.0), 4)


GOOD = {
    "binary.tif": (lambda: field(0, (80, 80, 80), 1.5, 0.3), (1, 1, 1)),
    "phases.zarr": (lambda: microstructures.cathode(1, (144, 144, 144)), (0.4, 0.4, 0.4)),
    "labels.npy": (lambda: microstructures.cathode(5, (144, 144, 144)) * 85, None),
    "fine.tif": (lambda: microstructures.cathode(2, (800, 800)), (0.1, 0.1)),
    "anode.nrrd": (lambda: microstructures.sofc(2, (112, 112, 112)), (0.1, 0.1, 0.1)),
    "grey.mha": (eight_bit, (1, 1, 1)),
    "offset.tif": (lambda: eight_bit().astype(np.uint16) * 50 + 30000, (1, 1, 1)),
    "float.ome.tif": (lambda: field(4, (32, 80, 80), 1.5), (1, 1, 1)),
    "sections.tif": (rubber, (4, 4, 4)),
    "decimated.tif": (lambda: filled_rubber.stack("easy", 5, (80, 96, 96))[::2], (2, 1, 1)),
    "noisy.tif": (lambda: noisy(rubber(), 8), (1, 1, 1)),
    "sem.tif": (
        lambda: microstructures.sem(microstructures.cathode(3, (400, 400)), 0, curtains=0, backs=0),
        (0.05, 0.05),
    ),
}


def inspect(*args):
    result = CliRunner().invoke(main, ["inspect", "--json", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, json.loads(result.stdout) if result.stdout.startswith("{") else None


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_wrong_with_a_good_file(name, tmp_path):
    make, size = GOOD[name]
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, make())
    else:
        io.write(path, make(), size)
    result, report = inspect(path)
    found = report["files"][0]
    assert result.exit_code == 0
    assert [f for f in found["findings"] if f["severity"] != "info"] == []
    assert found["shape"] == list(make().shape)
    assert found["kind"] == ("labels" if len(np.unique(make())) < 9 else "grey")
    if size:
        assert found["voxel_size"] == pytest.approx(size)
    elif size is None:
        assert "voxel size" in {f["kind"] for f in found["findings"]}


# ---- planted faults: each is named


def changed(change, base=rubber):
    stack = base().copy()
    return stack if (out := change(stack)) is None else out


def put(where, value):
    return lambda stack: stack.__setitem__(where, value)


def jitter(stack):
    steps = np.random.default_rng(1).integers(-3, 4, (len(stack), 2))
    return np.stack([np.roll(s, tuple(by), (0, 1)) for s, by in zip(stack, steps, strict=True)])


def wedge(stack):
    stack = stack.astype(np.uint16) * 100 + 20000
    for k in range(len(stack)):
        stack[k, :, : k // 2] = 0
    return stack


def flicker(stack):
    gain = 1 + 0.1 * np.random.default_rng(2).standard_normal((len(stack), 1, 1))
    return np.clip(stack * gain, 0, 255).astype(np.uint8)


def streaked(stack):
    line = 12 * np.sin(np.arange(96) * 2 * np.pi / 5)
    line += 8 * np.random.default_rng(3).standard_normal(96)
    return np.clip(stack + line, 0, 255).astype(np.uint8)


def texture_fixed(stack):
    stack[:, 80:] = np.random.default_rng(4).integers(0, 255, (16, 96))


FAULTS = {
    "blank": ("blank section", lambda: changed(put(20, 0)), [20]),
    "blank, grey": ("blank section", lambda: changed(put(20, 137)), [20]),
    "doubled": ("doubled section", lambda: changed(lambda s: put(20, s[19])(s)), [20]),
    "doubled, noise": (
        "doubled section",
        lambda: changed(lambda s: put(20, noisy(s[19], 4))(s)),
        [20],
    ),
    "missing": ("missing section", lambda: np.delete(rubber(), [20, 21], 0), None),
    "shifted": (
        "shifted section",
        lambda: changed(lambda s: put(20, np.roll(s[20], (3, -2), (0, 1)))(s)),
        [20, 21],
    ),
    "slipped for good": (
        "shifted section",
        lambda: changed(lambda s: put(np.s_[20:], np.roll(s[20:], (3, -2), (1, 2)))(s)),
        [20],
    ),
    "damaged": ("damaged section", lambda: changed(lambda s: put(20, s[20, ::-1].copy())(s)), [20]),
    "jitter": ("shifted section", lambda: changed(jitter), None),
    "bright": ("brightness", lambda: changed(lambda s: put(20, s[20] + 15)(s)), [20]),
    "flicker": ("brightness", lambda: changed(flicker), None),
    "wedge": ("fill", lambda: changed(wedge), None),
    "-9999": ("fill", lambda: changed(lambda s: put(np.s_[:, :8], -9999)(s := s * 1.0) or s), None),
    "nan": ("fill", lambda: changed(lambda s: put(np.s_[:, :8], np.nan)(s := s * 1.0) or s), None),
    "saturated": (
        "saturation",
        lambda: changed(lambda s: np.clip(s.astype(int) * 2, 0, 255).astype(np.uint8)),
        None,
    ),
    "frame": ("fixed frame", lambda: changed(texture_fixed), None),
    "curtains": ("curtaining", lambda: changed(streaked), None),
    "direction": ("direction", lambda: microstructures.separator(0, (96, 96, 96)), None),
    "planes left out": ("direction", lambda: microstructures.cathode(5, (192, 96, 96))[::3], None),
    "interpolated": (
        "stray values",
        lambda: zoom(field(0, (48, 48, 48), 2, 0.4) * 255, 1.5, order=1),
        None,
    ),
    "small": ("representativeness", lambda: microstructures.cathode(5, (64, 64)), None),
    "blank labels": (
        "blank section",
        lambda: changed(put(20, 0), lambda: microstructures.cathode(1, (64, 64, 64))),
        [20],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name):
    kind, make, where = FAULTS[name]
    values = make()
    report = inspect_image(values, (1,) * values.ndim)
    found = [f for f in report.findings if f.kind == kind and f.severity == "warning"]
    assert found, warned(report)
    assert found[0].advice
    if where is not None:
        assert found[0].numbers["sections"] == where
    extra = warned(report) - {kind, "representativeness", "direction"}
    assert not extra, extra


@pytest.mark.parametrize(("look", "n"), [("milled", 1), ("easy", 4)])
def test_none_is_missing_where_steps_differ_by_themselves(look, n):
    assert inspect_sections(filled_rubber.stack(look, 0, (64, 64, 64))[::n]) == []


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("lost", [1, 2])
def test_missing_sections_are_named_at_their_place(seed, lost):
    stack = filled_rubber.stack("harder", seed, (64, 96, 96))[::2]
    (found,) = inspect_sections(np.delete(stack, np.arange(6, 6 + lost), 0))
    assert found.kind == "missing section" and found.numbers["before"] == [6]


def test_a_data_bar_of_a_single_image_is_named():
    image = microstructures.sem(microstructures.cathode(3, (400, 400)), 0, curtains=0, backs=0)
    image = (image * 200).astype(np.uint8) + 10
    image[370:] = 0
    image[375:390, 20:150] = 255
    report = inspect_image(image)
    assert {"fixed frame"} <= warned(report) <= {"fixed frame", "fill"}
    (bar,) = (f for f in report.findings if f.kind == "fixed frame")
    assert bar.numbers["rows"] == 30


def test_an_image_of_one_value_cannot_be_used(tmp_path):
    io.write(tmp_path / "empty.tif", np.zeros((12, 30, 30), np.uint8))
    result, report = inspect(tmp_path / "empty.tif")
    assert result.exit_code == 2
    assert report["files"][0]["findings"][-1]["kind"] == "constant"


def test_what_is_no_image_gets_one_sentence(tmp_path):
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "nothing.tif")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "nothing.tif" in result.stderr
    with pytest.raises(ValueError, match="an image is"):
        inspect_image(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="no finite value"):
        inspect_image(np.full((8, 8), np.nan))


class Counted:
    """A volume that is made as it is read, and counts how much of it was."""

    shape, dtype, ndim = (3000, 2000, 2000), np.dtype(np.uint8), 3
    read = 0

    def __getitem__(self, where):
        where = where if isinstance(where, tuple) else (where,)
        where = [range(n)[w] for n, w in zip(self.shape, where, strict=False)]
        sizes = [len(w) for w in where if isinstance(w, range)]
        Counted.read += int(np.prod(sizes))
        seed = where[0] if isinstance(where[0], int) else 0
        tile = np.random.default_rng(seed).integers(0, 2, 99991, np.uint8)
        return np.resize(tile, sizes)


def test_of_a_volume_larger_than_memory_a_bounded_part_is_read():
    report = inspect_image(Counted())
    assert Counted.read <= 2**25 and report.examined < 0.003
    assert report.fractions == pytest.approx([0.5, 0.5], abs=1e-3)


# ---- representativeness


@pytest.mark.parametrize("shape, fraction", [((200, 300), 0.3), ((48, 64, 64), 0.1)])
def test_independent_voxels_have_the_binomial_error(shape, fraction):
    mask = np.random.default_rng(0).random(shape) < fraction
    found, p = representativeness(mask), mask.mean()
    assert found.error == pytest.approx(1.96 * np.sqrt(p * (1 - p) / mask.size), rel=0.03)
    size = (1.96 / 0.05) ** 2 * (1 - p) / p
    assert found.edge ** len(shape) == pytest.approx(size, rel=0.06)
    assert found.converged


def test_blocks_of_equal_voxels_count_as_one():
    mask = np.random.default_rng(0).random((64, 64)) < 0.4
    large = np.kron(mask, np.ones((5, 5), bool))
    assert integral_range(large) == pytest.approx(25, rel=0.1)
    assert representativeness(large).error == pytest.approx(representativeness(mask).error, rel=0.1)


def test_the_integral_range_of_an_exponential_covariance():
    """C(r) = exp(-r / a) in the plane has the sum 2 pi a^2; half of it lies beyond 1.7 a."""
    size, a = 768, 3.0
    lag = np.minimum(np.arange(size), size - np.arange(size))
    power = np.fft.fft2(np.exp(-np.hypot(lag[:, None], lag) / a)).real.clip(0)
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((size, size)))
    found = integral_range(np.fft.ifft2(noise * np.sqrt(power)).real)
    assert found == pytest.approx(2 * np.pi * a**2, rel=0.1)


@pytest.mark.parametrize("edge, radius", [(128, 6), (96, 10)])
def test_predicted_errors_are_those_found_in_boolean_discs(edge, radius):
    """Discs at random places; their fraction is known: 1 - exp(-count * area)."""
    from scipy.ndimage import distance_transform_edt

    rng, size = np.random.default_rng(0), 1920
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    area, density = np.count_nonzero(y**2 + x**2 <= radius**2), 0.004 * 36 / radius**2
    away = np.ones((size, size), bool)
    count = rng.poisson(density * size**2)
    away[rng.integers(0, size, count), rng.integers(0, size, count)] = False
    discs = distance_transform_edt(away) <= radius
    truth = 1 - np.exp(-density * area)
    parts = [
        discs[i : i + edge, j : j + edge]
        for i in range(0, size - edge + 1, edge)
        for j in range(0, size - edge + 1, edge)
    ]
    found = np.array([part.mean() for part in parts])
    predicted = np.array([representativeness(part).error for part in parts[:80]])
    assert np.median(predicted) == pytest.approx(1.96 * found.std(), rel=0.15)
    assert np.mean(np.abs(found[:80] - truth) < predicted) > 0.88


@pytest.mark.parametrize("source", ["real", "twin"])
def test_predicted_errors_against_found_ones_in_sub_images_of_an_electrode(source):
    if source == "real":
        path = find_file("electrode.tiff")
        if path is None:
            pytest.skip("electrode.tiff is not here")
        volume = io.read_labels(path)
    else:
        volume = microstructures.cathode(0, (160, 160, 160))
    rng, predicted, found, groups = np.random.default_rng(0), [], [], []
    for phase in range(3):
        mask = volume == phase
        for edge in (32, 48, 64, 96):
            pairs = []
            for _ in range(40):
                plane = np.take(mask, rng.integers(len(mask)), rng.integers(3))
                y, x = rng.integers(0, len(mask) - edge + 1, 2)
                image = plane[y : y + edge, x : x + edge]
                if 0 < image.mean() < 1:
                    pairs.append((representativeness(image).error, abs(image.mean() - mask.mean())))
            errors, off = np.array(pairs).T
            predicted, found = [*predicted, *errors], [*found, *off]
            groups.append((np.sqrt((errors**2).mean()), 1.96 * np.sqrt((off**2).mean())))
    each = np.corrcoef(predicted, found)[0, 1]
    by_group = np.corrcoef(np.log(groups).T)[0, 1]
    within = np.mean(np.array(found) < predicted)
    print(f"{source}: single {each:.3f}, by phase and size {by_group:.3f}, within {within:.3f}")
    assert by_group > 0.9 and within > 0.88
    assert each > 4 / np.sqrt(len(found))  # one error is one draw: it cannot follow closely


def test_a_direction_is_measured_in_micrometres():
    volume = field(3, (96, 96, 96), 2.0, 0.5)
    off, error = direction(volume[::3], "labels", (3, 1, 1))
    assert np.abs(off).max() < 0.05
    off, error = direction(volume[::3], "labels")
    assert off[0] > 5 * error[0] and off[0] > 0.5


# ---- blur


@cache
def material():
    return field(7, (144, 144, 144), 3.0, 0.4)


def slices(volume, step=9):
    return [np.take(volume, k, axis) for axis in range(3) for k in range(0, len(volume), step)]


def scanned(volume, width, scale, grey):
    """Blurred by a width in coarse voxels, sampled at every ``scale``-th voxel."""
    blurred = gaussian_filter(volume.astype(np.float32), width * scale, mode="wrap")
    coarse = blurred[::scale, ::scale, ::scale]
    if not grey:
        return (coarse > 0.5).astype(np.uint8)
    return 90 + 60 * (coarse + np.random.default_rng(0).normal(0, 0.03, coarse.shape))


@pytest.mark.parametrize("grey", [True, False], ids=["grey", "labels"])
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_the_width_of_a_blur_is_found_within_15_percent(width, grey):
    scale = 3
    found = estimate_blur(slices(material()), scanned(material(), width, scale, grey), scale, grey)
    assert found.width == pytest.approx(width, rel=0.15)
    assert found.low <= width <= found.high


def test_the_third_dimension_of_a_blur():
    """A Gaussian covariance of sigma s becomes (1 + w^2 / s^2)^(-3/2) of one of s^2 + w^2."""
    s, w, lags = 3.0, 3.0, 4
    (found,) = _grey_curves(field(0, (768, 768), s), np.array([w]), 2.0, lags)
    d = 2.0 * np.arange(1, lags + 1)
    exact = (1 + w**2 / s**2) ** -1.5 * np.exp(-(d**2) / 4 / (s**2 + w**2))
    assert found == pytest.approx(exact, rel=0.1)


def test_sampling_without_blur_is_told_from_blur():
    found = estimate_blur(slices(material()), material()[::3, ::3, ::3], 3)
    assert found.low == 0 and found.high < 0.5


def test_labels_that_are_only_more_alike_than_others_are_not_doubled():
    """As the first two sections of the coarse scan of Case 3: 86 % of the pixels agree."""
    labels = scanned(material(), 0.7, 4, False)
    labels[1] = np.where(np.random.default_rng(0).random(labels[1].shape) < 0.14, 1, labels[0])
    assert "doubled section" not in warned(inspect_image(labels, None))
    labels[1] = labels[0]
    assert "doubled section" in warned(inspect_image(labels, None))


# ---- pairs


def pair_of(scale=3, **options):
    coarse = scanned(material(), options.pop("width", 0.7), scale, False)
    return inspect_pair(coarse, slices(material(), 48), **options)


def test_a_pair_that_belongs_together():
    report = pair_of(voxel_size=(1.2,) * 3, fine_voxel_sizes=[(0.4, 0.4)] * 9)
    assert report.scale_factor == 3
    report = pair_of(4, voxel_size=(1.6,) * 3, fine_voxel_sizes=[(0.4, 0.4)] * 9)
    assert report.scale_factor == 4 and report.phase_map == [[1, 0], [0, 1]]
    assert report.mode == "blur" and report.blur.low <= 0.7 <= report.blur.high
    assert warned(report) <= {"expected error"}
    assert report.fractions[1] == pytest.approx(0.4, abs=0.02)


def test_the_scale_factor_is_proposed_without_voxel_sizes():
    report = pair_of(4, width=0.3)
    (found,) = (f for f in report.findings if f.kind == "scale factor")
    assert found.severity == "warning" and found.numbers["ratio"] == pytest.approx(4, rel=0.2)


def test_exchanged_phases_are_named():
    fine = slices(material(), 48)
    report = inspect_pair(1 - material()[::4, ::4, ::4], fine, scale_factor=4)
    assert report.phase_map == [[0, 1], [1, 0]]
    assert "phase map" in warned(report)


def test_a_phase_map_is_proposed_where_the_scan_has_fewer_phases():
    volume = microstructures.cathode(1, (128, 128, 128))
    coarse = (volume == 1).astype(np.uint8)[::4, ::4, ::4]
    report = inspect_pair(coarse, [microstructures.cathode(2, (500, 500))], scale_factor=4)
    assert report.phase_map == [[1, 0], [0, 1], [1, 0]]


def test_an_image_with_more_of_a_phase_loses_against_a_volume_that_knows_better():
    volume = field(7, (128, 128, 128), 2.5, 0.2)
    fine = field(8, (256, 256), 5.0, 0.248)  # 24 % more
    report = inspect_pair(volume, [fine], (2,) * 3, [(1, 1)])
    (found,) = (f for f in report.findings if f.kind == "fractions")
    assert found.severity == "warning" and "volume is the better witness" in found.message
    numbers = found.numbers
    assert numbers["coarse_error"] < 0.3 * numbers["fine_error"]
    assert report.fractions[1] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    "kind, coarse, fine, given",
    [
        ("voxel size", (1.2, 0.4, 0.4), (0.1, 0.1), None),
        ("voxel size", (0.4, 0.4, 0.4), (0.1, 0.2), None),
        ("order", (0.1, 0.1, 0.1), (0.4, 0.4), None),
        ("scale factor", (0.4, 0.4, 0.4), (0.1, 0.1), 8),
    ],
)
def test_voxel_sizes_that_contradict_each_other_are_refused(kind, coarse, fine, given):
    report = inspect_pair(material()[::4, ::4, ::4], [material()[0]], coarse, [fine], given)
    assert [f.kind for f in report.findings if f.severity == "error"] == [kind]


def test_grey_and_labels_are_no_pair():
    report = inspect_pair(eight_bit(), [material()[0]])
    assert [f.kind for f in report.findings if f.severity == "error"] == ["kind"]
    report = inspect_pair(material()[0], [material()[0]])
    assert [f.kind for f in report.findings if f.severity == "error"] == ["order"]


def test_a_pair_on_the_command_line_is_recognised_by_dimension(tmp_path):
    io.write(tmp_path / "fine.tif", material()[0], (0.4, 0.4))
    io.write(tmp_path / "scan.tif", material()[::4, ::4, ::4], (1.6, 1.6, 1.6))
    result, report = inspect(tmp_path / "fine.tif", tmp_path / "scan.tif")
    assert result.exit_code == 0
    assert report["files"][0]["path"].endswith("scan.tif") and report["pair"]["scale_factor"] == 4
    told = CliRunner().invoke(
        main, ["inspect", str(tmp_path / "scan.tif"), str(tmp_path / "fine.tif")]
    )
    assert told.exit_code == 0 and "scale factor 4" in told.output
    lines = told.output.splitlines()
    assert len(lines) < 45 and max(map(len, lines)) <= 120
