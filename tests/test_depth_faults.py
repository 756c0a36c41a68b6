"""Stacks as people bring them: fill, bad sections, labels, any spacing, slips and flicker."""

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner
from scipy import ndimage

from srlib import cli, metrics, models, training
from srlib.data import io, registration, sections
from srlib.data.fill import fill_mask, find_fill
from srlib.data.normalization import grey_limits
from srlib.inference import depth
from srlib.physics import sectioning
from srlib.synthetic import filled_rubber

N = 4


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return filled_rubber.stack("harder", 3, (48, 64, 64))


@pytest.fixture(scope="module")
def few(truth) -> np.ndarray:
    return sectioning.decimate(truth, N)


@pytest.fixture(scope="module")
def network() -> models.DepthGenerator:
    """A small one that answers in its own way to other grey limits."""
    torch.manual_seed(0)
    model = models.DepthGenerator(N, 8, 1, (3, 5)).eval()
    torch.nn.init.normal_(model.last.weight, 0, 0.1)
    return model


def decibels(found: np.ndarray, truth: np.ndarray) -> float:
    return metrics.decibels(metrics.rms_error(found.astype(float), truth.astype(float)))


# Fill values


def wedge(stack: np.ndarray, value: float) -> np.ndarray:
    """A border that grows from section to section, as a shear leaves it."""
    out = stack.copy()
    for k in range(len(out)):
        out[k, :, : 2 + k] = value
    return out


def data_bar(stack: np.ndarray, value: float) -> np.ndarray:
    out = stack.copy()
    out[:, 56:] = value
    out[:, 58:62:2, 5:40] = 255 - value
    return out


def hole(stack: np.ndarray, value: float) -> np.ndarray:
    out = stack.copy()
    out[:, 20:26, 2:9] = value
    return out


FILLS = {
    "black wedge": lambda s: wedge(s, 0),
    "white wedge": lambda s: wedge(s, 255),
    "grey wedge": lambda s: wedge(s, 128),
    "black data bar": lambda s: data_bar(s, 0),
    "white data bar": lambda s: data_bar(s, 255),
    "hole of -9999": lambda s: hole(s.astype(np.float32), -9999),
    "wedge of NaN": lambda s: wedge(s.astype(np.float32), np.nan),
    "hole in 16 bits with an offset": lambda s: hole(s.astype(np.uint16) * 16 + 30_000, 0),
}


@pytest.mark.parametrize("kind", FILLS)
def test_fill_is_told_from_grey_left_out_and_given_back(kind, truth, few, network):
    made = FILLS[kind](few)
    scale, offset = (16, 30_000) if "offset" in kind else (1, 0)
    marks = made != few.astype(made.dtype) * scale + offset
    values = find_fill(made)
    masks = np.stack([fill_mask(section, values) for section in made])
    assert (masks & marks).sum() >= 0.99 * marks.sum() and (masks & ~marks).sum() <= 40
    low, high = grey_limits(made)
    known = np.percentile(few[~marks], [0.5, 99.5])
    assert np.allclose([(low - offset) / scale, (high - offset) / scale], known, atol=2)
    found = depth.restore(network, made, progress=False)
    inside = np.s_[:, :52, 20:]
    plain = (found[inside].astype(float) - offset) / scale
    clean = depth.restore(network, few, progress=False)[inside]
    assert metrics.rms_error(plain, clean.astype(float)) < 1.5
    assert np.array_equal(found[N // 2 :: N], made, equal_nan=made.dtype.kind == "f")
    between, beside = found[N // 2 + 1 :: N][:-1], marks[:-1]
    assert np.array_equal(between[beside], made[:-1][beside], equal_nan=made.dtype.kind == "f")


def test_what_is_merely_saturated_is_no_fill(few):
    grey = few.astype(float)
    for stack in (
        few,
        np.clip((grey - 70) * 2, 0, 255).astype(np.uint8),
        np.clip((grey - 40) * 2.5, 0, 255).astype(np.uint8),
        filled_rubber.stack("copolymer", 0, (8, 64, 64)),
        (grey > 90).astype(np.uint8),
    ):
        assert find_fill(stack) == ()


def test_no_tile_of_a_training_holds_fill(few):
    for made in (wedge(few, 0), data_bar(few, 255), wedge(few.astype(float), np.nan)):
        drawn = training.Sections(made)
        tiles = drawn.draw(64, 16, torch.Generator().manual_seed(0)).numpy()
        flat = ndimage.maximum_filter(tiles, (1, 1, 3, 3)) == ndimage.minimum_filter(
            tiles, (1, 1, 3, 3)
        )
        assert np.isfinite(tiles).all() and flat.mean() < 0.01
        assert drawn.limits == pytest.approx(training.Sections(few).limits, abs=6)


# Single sections


def blank(stack: np.ndarray) -> np.ndarray:
    out = stack.copy()
    out[6] = 0
    return out


def dark(stack: np.ndarray) -> np.ndarray:
    out = stack.copy()
    out[6] = np.random.default_rng(0).normal(60, 5, out[6].shape)
    return out


def doubled(stack: np.ndarray) -> np.ndarray:
    out = stack.copy()
    out[6] = out[5]
    return out


def imaged_twice(stack: np.ndarray) -> np.ndarray:
    out = stack.copy()
    out[6] = np.clip(out[5] + np.random.default_rng(0).normal(0, 1.5, out[5].shape), 0, 255)
    return out


def dropped(stack: np.ndarray) -> np.ndarray:
    return np.delete(stack, 6, 0)


@pytest.mark.parametrize("fault", [blank, dark, doubled, imaged_twice, dropped])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_bad_section_is_named_left_out_and_its_place_is_a_gap(fault, seed, tmp_path):
    spacing = 2 if fault is dropped else N  # at 4 neighbours differ too much to be sure
    few = sectioning.decimate(filled_rubber.stack("harder", seed, (64, 96, 96)), spacing)
    made = fault(few)
    layout = sections.check_sections(made)
    found = (layout.blank, layout.doubled, layout.unlike)
    wanted = {blank: 0, dark: 0, doubled: 1, imaged_twice: 1, dropped: 2}[fault]
    assert [bool(numbers) for numbers in found] == [k == wanted for k in range(3)]
    if fault is dropped:  # the advice
        assert layout.unlike[0][0] == 5 and layout.gaps == ()
        layout = sections.check_sections(made, missing=[5])
    assert layout.gaps == (6,) and len(layout.order) == len(few)
    mended = sections.write_prepared(tmp_path / "mended.npy", made, layout)
    assert np.array_equal(np.delete(mended, 6, 0), np.delete(few, 6, 0))
    between = few[5:6] / 2 + few[7:8] / 2
    assert decibels(mended[6:7], few[6:7]) > decibels(between, few[6:7]) + 0.5


@pytest.mark.parametrize("look", ["easy", "harder", "milled", "copolymer", "lamellae"])
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_no_section_of_a_good_stack_is_named(look, n):
    stack = filled_rubber.stack(look, 0, (64, 64, 64))[::n]
    layout = sections.check_sections(stack)
    assert layout.order == tuple(range(len(stack)))
    assert not layout.unlike or look == "milled", "where steps do differ"


def test_a_section_inserted_twice_leaves_no_gap(few):
    made = np.insert(few, 6, few[5], 0)
    layout = sections.check_sections(made)
    assert layout.doubled == (6,) and layout.order == (*range(6), *range(7, 13))


def test_an_estimate_is_exact_for_a_cubic_also_beside_other_gaps():
    cubic = (np.arange(9.0) ** 3 - 4 * np.arange(9.0) ** 2)[:, None, None] * np.ones((1, 3, 3))
    order = (0, 1, None, 3, None, None, 6, 7, 8)
    layout = sections.Layout(order)
    for place in layout.gaps:
        found = sections.section_at(lambda k: cubic[k], layout, place)
        assert np.allclose(found, cubic[place], atol=1e-3)


# Labels


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 85, 170), (1, 2, 7)])
def test_labels_stay_labels(values, few, network):
    labels = np.asarray(values, np.uint8)[np.digitize(few, [70, 110][: len(values) - 1])]
    assert sections.label_values(labels) == values
    for call in (depth.restore, depth.restore_file):
        with pytest.raises(ValueError, match="these are labels"):
            call(network, labels, *(("x.tif",) if call is depth.restore_file else ()))
    found = depth.restore(network, labels, phases=values, progress=False)
    assert found.dtype == labels.dtype and set(np.unique(found)) == set(values)
    assert np.array_equal(found[N // 2 :: N], labels)


def test_labels_of_objects_and_grey_of_few_levels_are_told_apart(few):
    objects = np.repeat(np.repeat(np.arange(12 * 64).reshape(12, 8, 8), 8, 1), 8, 2)
    with pytest.raises(ValueError, match="labels of objects"):
        sections.label_values(objects)
    for grey in (few, few // 8, few.astype(np.float32) / 255):
        assert sections.label_values(grey) is None


# Any spacing


@pytest.mark.parametrize("n", [1.5, 2.5, 6.3, 3])
def test_planes_lie_at_the_distance_of_a_pixel(n):
    """A slope along the depth comes back where the sections lie; the network begins linear."""
    m, slope = 24, 3.0
    first = n // 2
    place = first + n * np.arange(m)
    ramp = (slope * place)[:, None, None] + np.random.default_rng(0).normal(0, 1, (1, 20, 20))
    model = models.DepthGenerator(int(np.ceil(n)), 4, 1).eval()
    model.meta = {"spacing": n}
    found = depth.restore(model, ramp.astype(np.float32), fill=(), progress=False)
    assert len(found) == int(m * n)
    planes = np.arange(len(found))
    inner = (planes > place[1]) & (planes < place[-2])
    assert np.allclose(found.mean((1, 2))[inner], slope * planes[inner], atol=0.2)


@pytest.mark.parametrize("n", [2.5, 6.3, 3])
def test_a_file_of_any_spacing_has_the_voxels_of_the_whole(n, few, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = models.DepthGenerator(int(np.ceil(n)), 8, 1, (3, 5)).eval()
    torch.nn.init.normal_(model.last.weight, 0, 0.1)
    model.meta = {"spacing": n}
    monkeypatch.setattr(depth, "SLAB", int(n * 64 * 64 * 3))
    path = depth.restore_file(model, few, tmp_path / "fine.tif", progress=False)
    whole = depth.restore(model, few, progress=False)
    assert np.abs(tifffile.imread(path).astype(int) - whole.astype(int)).max() <= 1


@pytest.mark.parametrize("n", [2.5, 6.3])
def test_tiles_of_a_stretched_training_are_as_long_as_their_spacing(n):
    """A wave along both axes, of period 10, has the period 10 N / n along the stretched one."""
    y, x = np.mgrid[:64, :64]
    stack = np.stack([100 + 50 * np.sin(2 * np.pi * (y + x) / 10)] * 2)
    tiles = training.Sections(stack)
    tiles.stretch = int(np.ceil(n)) / n
    drawn = tiles.draw(8, 42, torch.Generator().manual_seed(0)).numpy()[:, 0]
    for axis, period in ((1, 10 * tiles.stretch), (2, 10)):
        power = np.abs(np.fft.rfft(drawn, 4096, axis)).mean((0, 3 - axis))
        peak = np.argmax(power[50:]) + 50
        assert abs(4096 / peak - period) < 0.4


@pytest.mark.parametrize(("axis", "block"), [(0, 20), (1, 30), (2, 17)])
def test_large_sections_go_block_by_block(axis, block, few, network, tmp_path, monkeypatch):
    stack = np.moveaxis(few, 0, axis)
    whole = depth.restore(network, stack, axis, progress=False)
    monkeypatch.setattr(depth, "BLOCK", block)
    sizes, part = [], depth.restore_part
    monkeypatch.setattr(
        depth, "restore_part", lambda m, s, *a: (sizes.append(s.shape), part(m, s, *a))[1]
    )
    path = depth.restore_file(network, stack, tmp_path / "fine.tif", axis, progress=False)
    assert np.abs(tifffile.imread(path).astype(int) - whole.astype(int)).max() <= 1
    assert max(max(np.delete(size, axis)) for size in sizes) <= block + 2 * 8


# Slips and flicker


def slipped(seed: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A stack whose sections slip by whole pixels, and the slips."""
    rng = np.random.default_rng(seed)
    big = filled_rubber.stack("harder", seed, (30, size, size))
    slips = np.cumsum(rng.integers(-2, 3, (30, 2)), 0)
    slips = slips - np.rint(slips.mean(0)).astype(int)
    moved = np.stack([np.roll(s, tuple(by), (0, 1)) for s, by in zip(big, slips, strict=True)])
    return moved[:, 16:-16, 16:-16], slips


def worst(found: np.ndarray, slips: np.ndarray) -> float:
    """Largest error of a step between two sections."""
    return float(np.abs(np.diff(found, axis=0) - np.diff(slips, axis=0)).max())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blank_sections_are_bridged_and_frames_do_not_win(seed):
    clean, slips = slipped(seed)
    assert worst(registration.find_slips(clean).slips, slips) < 1
    for value in (0, 137, 255):
        made = clean.copy()
        made[[12, 20, 21]] = value
        found = registration.find_slips(made)
        assert found.bridged == (12, 20, 21) and not found.unsure
        good = np.setdiff1d(np.arange(30), found.bridged)
        assert worst(found.slips[good], slips[good]) < 1.5
    for frame in ("bar", "frame", "stripes"):
        made = clean.copy()
        if frame == "bar":
            made[:, 84:], made[:, 88:92, 5:60] = 0, 255
        elif frame == "frame":
            made[:, :10] = made[:, -10:] = made[:, :, :10] = made[:, :, -10:] = 0
        else:
            made = np.clip(made + 60.0 * (np.arange(96) % 7 == 0), 0, 255).astype(np.uint8)
        assert worst(registration.find_slips(made).slips, slips) < 1.5, frame


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_step_beyond_the_search_or_at_no_shift_is_refused(seed):
    clean, _ = slipped(seed)
    far = clean.copy()
    far[15:] = np.roll(far[15:], 20, 1)
    found = registration.find_slips(far)
    assert found.unsure + found.far == (15,)
    with pytest.warns(UserWarning, match="sections 15"):
        registration.align_sections(far)
    edge = np.stack([np.roll(clean[0], 8 * k, 0) for k in range(6)])
    assert registration.find_slips(edge).far == (1, 2, 3, 4, 5)
    noise = np.random.default_rng(seed).normal(size=(8, 64, 64))
    assert len(registration.find_slips(noise).unsure) >= 5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flicker_is_told_from_what_sections_vary_by_themselves(seed):
    rng = np.random.default_rng(seed)
    few = filled_rubber.stack("harder", seed, (96, 96, 96))[::N].astype(float)
    read = few.__getitem__
    assert sections.find_levels(read, range(len(few))).flicker < sections.FLICKER
    gain = 1 + 0.1 * rng.standard_normal(len(few))
    made = few * gain[:, None, None]
    levels = sections.find_levels(made.__getitem__, range(len(few)))
    assert levels.flicker > sections.FLICKER
    even = np.stack([levels.apply(section, k) for k, section in enumerate(made)])
    steps = [np.square(np.diff(stack, axis=0)).mean() for stack in (few, made, even)]
    assert abs(steps[2] - steps[0]) < 0.4 * (steps[1] - steps[0])


# The command


@pytest.fixture
def run(tmp_path, few, monkeypatch):
    """``srlib depth`` on a stack, by a small network: what it said, and the volume."""
    recipe = training.DepthRecipe(steps=3, batch=2, width=8, blocks=1)
    monkeypatch.setattr(training, "DepthRecipe", lambda steps=None: recipe)

    def call(stack: np.ndarray, *words: str, out: str = "fine.tif", **how):
        tifffile.imwrite(tmp_path / "stack.tif", stack, **how)
        words = ["depth", str(tmp_path / "stack.tif"), "-o", str(tmp_path / out), *words]
        done = CliRunner().invoke(cli.main, words)
        made = tmp_path / out
        return done, tifffile.imread(made) if done.exit_code == 0 else None

    return call


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (blank, "section 6 blank"),
        (doubled, "section 6 the one before once more"),
        (lambda s: wedge(s, 0), "not measured: "),
        (lambda s: np.where(s > 90, 255, 0).astype(np.uint8), "labels 0, 255"),
        (
            lambda s: (s * (1 + 0.2 * (np.arange(12) % 2))[:, None, None]).astype(np.uint16),
            "levelled",
        ),
        (lambda s: s[:, :24, :24], "tiles of 24 pixels"),
    ],
)
def test_the_command_says_what_it_found(fault, words, few, run, tmp_path):
    done, found = run(fault(few), "--n", "4")
    assert done.exit_code == 0, done.stderr
    assert words in done.stdout and len(found) == 48
    assert "expected" in done.stdout or "not tried" in done.stdout
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"stack.tif", "fine.tif", "fine.tif.safetensors"}


@pytest.mark.parametrize(
    ("words", "out", "sentence"),
    [
        (["--n", "4"], "fine.png", "must end in"),
        (["--n", "4"], "no/such/fine.tif", "choose another folder"),
        (["--n", "4"], "stack.tif", "is the input itself"),
        ([], "fine.tif", "give --n"),
        (["--n", "1"], "fine.tif", "2 to 32"),
        (["--n", "40"], "fine.tif", "2 to 32"),
        (["--n", "4", "--axis", "3"], "fine.tif", "0, 1 or 2"),
        (["--n", "4", "--save", "net.pt"], "fine.tif", "must end in .safetensors"),
        (["--n", "4", "--pixel-size", "0"], "fine.tif", "should be above 0"),
        (["--n", "4", "--missing", "99"], "fine.tif", "none can be missing"),
        (["--n", "3.7", "--model", "rubber4-twin-0"], "fine.tif", "is for n=4, not 3.7"),
        (["--n", "4", "--model", "case3-twin-0"], "fine.tif", "restores no depth"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(words, out, sentence, few, run, monkeypatch):
    monkeypatch.setattr(training, "fit_depth", lambda *a, **k: pytest.fail("it trained"))
    done, _ = run(few, *words, out=out)
    assert done.exit_code == 2 and done.stderr.count("Error: ") == 1
    assert sentence in done.stderr.replace("\n", " ")


def test_an_output_is_replaced_only_when_that_is_said(few, run):
    assert run(few, "--n", "4")[0].exit_code == 0
    again, _ = run(few, "--n", "4")
    assert again.exit_code == 2 and "add --overwrite" in again.stderr
    assert run(few, "--n", "4", "--overwrite")[0].exit_code == 0


@pytest.mark.parametrize(("pixel", "far", "n"), [(0.01, 0.04, 4), (0.5, 1.25, 2.5), (2.0, 6.0, 3)])
def test_the_spacing_comes_from_the_file_and_goes_into_the_output(
    pixel, far, n, few, run, tmp_path
):
    how = dict(
        imagej=True,
        resolution=(1 / pixel, 1 / pixel),
        metadata={"spacing": far, "unit": "um", "axes": "ZYX"},
    )
    done, found = run(few, **how)
    assert done.exit_code == 0 and len(found) == int(12 * n)
    size = io.read(tmp_path / "fine.tif").voxel_size
    assert np.allclose(size, (pixel, pixel, pixel), rtol=1e-3)
    wrong, _ = run(few, "--n", str(n + 1), out="other.tif", **how)
    assert wrong.exit_code == 2 and "contradicts the voxel size" in wrong.stderr


def test_pixels_without_a_size_get_it_and_the_model_is_kept(few, run, tmp_path):
    done, found = run(few, "--n", "4", "--pixel-size", "0.5")
    assert done.exit_code == 0
    assert np.allclose(io.read(tmp_path / "fine.tif").voxel_size, 0.5)
    assert "section k is plane 4 k + 2" in done.output
    assert f"planes 0, 1, {4 * len(few) - 1} lie beyond the sections" in done.output
    for k, section in enumerate(few):
        assert np.array_equal(found[4 * k + 2], section)
    model = tmp_path / "fine.tif.safetensors"
    again, other = run(few, "--n", "4", "--model", str(model), out="other.tif")
    assert again.exit_code == 0 and np.array_equal(other, found)
    assert "which the model may have learnt from" in again.output


def test_a_corrected_command_goes_on_from_what_was_trained(few, run, monkeypatch, tmp_path):
    """The output is named anew after the training; its checkpoint is found again."""
    whole, steps = depth.restore_file, []
    adam = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: (steps.append(1), adam(self, *a, **k))[1]
    )

    def full(*args, **kwargs):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(depth, "restore_file", full)
        assert run(few, "--n", "4")[0].exit_code == 2
    assert steps and depth.restore_file is whole
    steps.clear()
    assert run(few, "--n", "4", out="other.tif")[0].exit_code == 0
    assert not steps
    left = {path.name for path in tmp_path.iterdir()}
    of_the_first = {".unfinished-fine.tif", "fine.tif.safetensors"}  # its command can go on
    assert left == {"stack.tif", "other.tif", "other.tif.safetensors"} | of_the_first
    assert run(few, "--n", "4")[0].exit_code == 0, "nothing of its own is in its way"


def test_what_is_expected_is_what_a_plane_left_out_shows():
    """Linear interpolation of a wave: its error is known, in decibels of the limits."""
    wave = 100 + 50 * np.sin(2 * np.pi * np.arange(96) / 16)
    stack = np.stack([wave[:, None] + wave[None] * 0.0] * 2)
    model = models.DepthGenerator(2, 4, 1).eval()  # begins as linear interpolation
    found = depth.expected(model, stack, [0], limits=(50.0, 150.0))
    left_out = 50 * (1 - np.cos(2 * np.pi / 16))  # error of every other row, times the wave
    power = left_out**2 / 2 / 2 / 2  # mean square; half of the rows; one axis of two
    assert abs(found["linear"] - 10 * np.log10(100**2 / power)) < 0.3
    assert abs(found["network"] - found["linear"]) < 1e-3 < found["cubic"] - found["linear"]
