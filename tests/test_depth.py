"""The depth of a stack, learnt from its own sections: twin, networks, training, files."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner

from srlib import cli, losses, metrics, models, training, viz
from srlib.data import io, registration
from srlib.inference import depth
from srlib.physics import scattering, sectioning
from srlib.synthetic import filled_rubber

SMALL = training.DepthRecipe(steps=4, tile=16, batch=2, width=8, blocks=1)


@pytest.fixture(scope="module")
def rubber_block() -> np.ndarray:
    return filled_rubber.stack("harder", 0, (48, 64, 64))


def network(n: int = 4, seed: int = 0) -> models.DepthGenerator:
    """One that does something, though not learnt."""
    torch.manual_seed(seed)
    model = models.DepthGenerator(n, 8, 1, (3, 5)).eval()
    torch.nn.init.normal_(model.last.weight, 0, 0.1)
    return model


# The twin


@pytest.mark.parametrize("look", ["easy", "harder"])
def test_sy7_silica_fills_its_share_from_the_threshold_on(look):
    grey = filled_rubber.stack(look, 1, (64, 64, 64))
    assert grey.dtype == np.uint8 and grey.shape == (64, 64, 64)
    assert abs((grey >= filled_rubber.THRESHOLD).mean() - 0.16) < 0.005
    assert np.array_equal(grey, filled_rubber.stack(look, 1, (64, 64, 64)))
    assert not np.array_equal(grey, filled_rubber.stack(look, 2, (64, 64, 64)))


def test_uneven_milling_brings_the_sections_of_a_pair_together():
    def steps(look: str) -> np.ndarray:
        grey = filled_rubber.stack(look, 0, (48, 64, 64)).astype(float)
        return np.square(np.diff(grey, axis=0)).mean((1, 2))

    even, uneven = steps("easy"), steps("milled")
    assert abs(np.log(even[0::2].mean() / even[1::2].mean())) < 0.1
    assert uneven[0::2].mean() < 0.6 * uneven[1::2].mean()


def test_lamellae_lie_across_the_depth_and_other_waves_anywhere():
    def along(name: str) -> list[float]:
        grey = filled_rubber.stack(name, 0, (48, 48, 48)).astype(float)
        return [np.square(np.diff(grey, axis=a)).mean() for a in range(3)]

    free, layered = along("copolymer"), along("lamellae")
    assert max(free) < 2 * min(free)
    assert layered[0] > 3 * max(layered[1:])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: filled_rubber.stack("rubbish"), "choose of easy"),
        (lambda: filled_rubber.stack("easy", 0, (4, 64, 64)), "8 or more"),
    ],
)
def test_a_stack_that_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# The networks


@pytest.mark.parametrize("n", [2, 3, 8])
def test_networks_begin_as_linear_interpolation_and_keep_what_was_measured(n):
    x = torch.randn(2, 1, 5, 11)
    wanted = sectioning.fill(x[:, 0].numpy(), n, "linear", axis=1)
    for model in (models.DepthGenerator(n, 8, 1), models.SRCNN(n, (8, 4))):
        assert np.allclose(model(x)[:, 0].detach().numpy(), wanted, atol=1e-5)
    made = network(n)(x)
    assert torch.equal(made[:, :, n // 2 :: n], x)
    assert not np.allclose(made[:, 0].detach().numpy(), wanted, atol=1e-3)


def test_an_output_depends_on_no_row_beyond_its_reach():
    x = torch.randn(1, 1, 31, 9)
    for model in (network(), models.SRCNN(4)):
        torch.nn.init.normal_(list(model.parameters())[-2], 0, 0.1)
        far = x.clone()
        far[:, :, 15 + model.reach + 1 :] += 1
        change = (model(far) - model(x)).abs().amax((0, 1, 3))
        assert change[: 16 * 4].max() == 0
        near = x.clone()
        near[:, :, 16] += 1
        assert (model(near) - model(x)).abs().amax((0, 1, 3))[15 * 4 + 3] > 0


def test_networks_survive_the_disk(tmp_path):
    model = network()
    models.save(model, tmp_path / "a.safetensors")
    x = torch.randn(1, 1, 4, 9)
    assert torch.equal(models.load(tmp_path / "a.safetensors")(x), model(x))


def test_feature_loss_in_closed_form():
    a, b = [torch.zeros(2, 3), torch.ones(4)], [torch.ones(2, 3), 3 * torch.ones(4)]
    assert losses.feature_loss(a, b) == 1.5 and losses.feature_loss(a, a) == 0
    with pytest.raises(ValueError, match="1 and 2 layers"):
        losses.feature_loss(a[:1], b)


# The training


@pytest.mark.parametrize("method", training.DEPTH_METHODS)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    method, rubber_block, tmp_path, monkeypatch
):
    few = sectioning.decimate(rubber_block, 4)
    whole = training.fit_depth(few, 4, method, 0, SMALL, progress=False)
    step, calls = torch.optim.Adam.step, []

    def dying(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    out = tmp_path / "checkpoint"
    how = dict(progress=False, out=out, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            training.fit_depth(few, 4, method, 0, SMALL, **how)
    again = training.fit_depth(few, 4, method, 0, SMALL, **how)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_tiles_show_every_turn_and_are_decimated_afterwards():
    stack = np.zeros((1, 16, 16), np.uint8)
    stack[:, 5] = 255  # one line along the columns
    tiles = training.Sections(stack).draw(64, 16, torch.Generator().manual_seed(0))[:, 0]
    rows = {tuple(torch.nonzero((t > 0).all(1))[:, 0].tolist()) for t in tiles}
    columns = {tuple(torch.nonzero((t > 0).all(0))[:, 0].tolist()) for t in tiles}
    assert rows == {(), (5,), (10,)} and columns == {(), (5,), (10,)}


def test_a_short_training_beats_interpolation_on_planes_not_seen():
    """Learning rate 0 leaves linear interpolation, and the assertion fails."""
    whole = filled_rubber.stack("easy", 0, (96, 96, 96))
    learnt, truth = sectioning.decimate(whole[:48], 4), whole[56:]
    few = sectioning.decimate(truth, 4)
    recipe = training.DepthRecipe(steps=150, tile=32, batch=12, width=16, blocks=1, rate=3e-3)
    model = training.fit_depth(learnt, 4, "SRGAN", 0, recipe, progress=False)
    errors = {
        name: metrics.rms_error(np.rint(np.clip(found, 0, 255)), truth)
        for name, found in (
            ("network", depth.restore(model, few)),
            ("linear", sectioning.fill(few, 4)),
        )
    }
    assert errors["network"] < 0.8 * errors["linear"]


FEW = np.random.default_rng(0).integers(0, 255, (6, 24, 24)).astype(np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.fit_depth(FEW, 4, "GAN"), "choose of SRGAN"),
        (lambda: training.fit_depth(FEW, 0), "2 to 32"),
        (
            lambda: training.fit_depth(FEW, 4, recipe=replace(SMALL, tile=28)),
            "fit into sections of 24 x 24",
        ),
        (lambda: training.fit_depth(FEW, 4, recipe=replace(SMALL, steps=0)), "1 or more"),
        (lambda: training.fit_depth(FEW, 3, recipe=SMALL), "multiple of n=3"),
        (lambda: training.fit_depth(FEW[0], 4), "three axes"),
        (lambda: training.fit_depth(np.nan * FEW, 4, recipe=SMALL), "NaN"),
        (lambda: training.fit_depth(0 * FEW, 4, recipe=SMALL), "one grey value only"),
        (lambda: depth.restore(torch.nn.Identity(), FEW), "restores no depth"),
        (lambda: depth.restore(network(), FEW, planes="xy"), "should be one of"),
        (lambda: depth.restore(network(), np.nan * FEW), "NaN"),
        (lambda: depth.restore(network(), FEW, axis=5), "0, 1 or 2"),
        (lambda: models.DepthGenerator(1), "2 or more"),
    ],
)
def test_bad_input_gets_one_clear_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# Restoring


def test_restoring_keeps_measured_sections_kind_and_any_axis():
    model = network()
    found = depth.restore(model, FEW)
    assert found.dtype == np.uint8 and found.shape == (24, 24, 24)
    assert np.array_equal(found[2::4], FEW)
    turned = depth.restore(model, np.moveaxis(FEW, 0, 2), axis=2)
    assert np.abs(np.moveaxis(turned, 2, 0).astype(int) - found).max() <= 1
    grey = FEW.astype(np.float32)
    xz, yz, both = (depth.restore(model, grey, planes=p) for p in ("xz", "yz", "both"))
    assert np.allclose((xz + yz) / 2, both, atol=1e-3) and not np.allclose(xz, yz, atol=10)
    with pytest.raises(ValueError, match="astype"):
        depth.restore(model, FEW > 100)


def test_grey_values_of_another_range_make_no_difference():
    found = depth.restore(network(), FEW.astype(np.float32))
    other = depth.restore(network(), 40 * FEW.astype(np.float32) - 3000)
    assert np.allclose(other, 40 * found - 3000, atol=0.5)


@pytest.mark.parametrize("target", ["fine.tif", "fine.zarr"])
@pytest.mark.parametrize("axis", [0, 1])
def test_file_to_file_gives_the_voxels_of_the_whole(target, axis, tmp_path, monkeypatch):
    model = network()
    stack = np.random.default_rng(1).integers(0, 60_000, (23, 23, 10)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    monkeypatch.setattr(depth, "SLAB", 4 * 23 * 10 * 5)  # five sections a slab
    path = depth.restore_file(model, tmp_path / "stack.tif", tmp_path / target, axis)
    if target.endswith("tif"):
        found = tifffile.imread(path)
    else:
        found = io.reopen(path, ())[:]
    assert found.dtype == np.uint16
    assert np.abs(found.astype(int) - depth.restore(model, stack, axis).astype(int)).max() <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target, "stack.tif"])


def test_an_interrupted_call_goes_on(tmp_path, monkeypatch):
    model, source, target = network(), tmp_path / "stack.tif", tmp_path / "fine.tif"
    stack = np.random.default_rng(1).integers(0, 255, (20, 16, 16)).astype(np.uint8)
    tifffile.imwrite(source, stack)
    monkeypatch.setattr(depth, "SLAB", 4 * 16 * 16 * 4)
    restore_part, calls = depth.restore_part, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return restore_part(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(depth, "restore_part", dying)
        with pytest.raises(KeyboardInterrupt):
            depth.restore_file(model, source, target, progress=False)
        assert not target.exists()
        depth.restore_file(model, source, target, progress=False)
    assert len(calls) == 4 + 2, "three of five slabs were done"
    assert np.array_equal(tifffile.imread(target), depth.restore(model, stack))


def test_the_command_learns_from_the_stack_itself(tmp_path, monkeypatch):
    source, target = tmp_path / "stack.tif", tmp_path / "fine.tif"
    tifffile.imwrite(source, filled_rubber.stack("easy", 0, (8, 64, 64)))
    monkeypatch.setattr(training, "DepthRecipe", lambda steps: replace(SMALL, steps=steps))
    saved = tmp_path / "mine.safetensors"
    words = ["--n", "4", "--steps", "3", "--save", str(saved)]

    def run(*words: str):
        return CliRunner().invoke(cli.main, ["depth", *words])

    done = run(str(source), "-o", str(target), *words)
    assert done.exit_code == 0 and str(target) in done.stdout
    again = run(str(source), "-o", str(tmp_path / "again.tif"), "--n", "4", "--model", str(saved))
    assert again.exit_code == 0
    assert (tmp_path / "again.tif").read_bytes() == target.read_bytes()
    assert tifffile.imread(target).shape == (32, 64, 64)
    assert {p.name for p in tmp_path.iterdir()} == {
        "stack.tif",
        "fine.tif",
        "again.tif",
        saved.name,
    }
    for wrong, words in (
        ([str(target), "-o", str(tmp_path / "b.tif"), "--n", "1"], "2 to 32"),
        (
            [str(tmp_path / "none.tif"), "-o", str(tmp_path / "b.tif"), "--n", "2"],
            "there is no file",
        ),
        ([str(source), "-o", str(source), "--n", "4"], "is the input itself"),
        ([str(source), "-o", str(tmp_path / "b.png"), "--n", "4"], "must end in"),
    ):
        done = run(*wrong)
        assert done.exit_code == 2 and words in done.stderr


# Measures


def test_decibels_and_flips_in_closed_form():
    truth = np.zeros((4, 4, 4), np.uint8)
    found = truth.copy()
    found[0] = 100
    assert metrics.rms_error(found, truth) == 50
    assert np.isclose(metrics.decibels(50), 20 * np.log10(5.1))
    assert metrics.decibels(0) == float("inf")
    assert (
        metrics.threshold_disagreement(found, truth, 100) == 0.25
        and metrics.threshold_disagreement(found, truth, 101) == 0
    )
    parts = metrics.octants(metrics.rms_error, found, truth)
    assert np.allclose(parts, [np.sqrt(5000)] * 4 + [0] * 4)


def test_gain_is_the_ratio_of_squares_and_its_limits_hold_it():
    rng = np.random.default_rng(0)
    found = metrics.gain(rng.uniform(0.9, 1.1, 8), rng.uniform(1.8, 2.2, 8))
    assert found["low"] < found["gain"] < found["high"]
    assert abs(found["gain"] - 20 * np.log10(2)) < 0.5
    assert metrics.gain(np.ones(8), np.ones(8)) == {"gain": 0, "low": 0, "high": 0}


def test_surface_and_number_of_balls():
    z, y, x = np.mgrid[:40, :40, :80]
    grey = sum(
        200 / (1 + np.exp(2 * (np.hypot(np.hypot(z - 20, y - 20), x - c) - 8))) for c in (20, 58)
    )
    grey = grey.astype(np.float32)
    assert np.isclose(metrics.isosurface(grey, 100) * grey.size, 2 * 4 * np.pi * 64, rtol=0.02)
    assert metrics.count_bodies(grey, 100) == metrics.count_bodies(grey, 100, apart=38) == 2
    assert metrics.count_bodies(grey, 100, apart=39) == 1, "alike, and nearer than that"
    with pytest.raises(ValueError, match="no surface"):
        metrics.isosurface(grey, 300)


def test_seams_are_where_the_steps_are():
    volume = np.random.default_rng(0).normal(size=(20, 8, 8))
    assert 0.5 < metrics.seams(volume, [5, 10, 15]) < 2
    volume[10:] += 10
    assert metrics.seams(volume, [10]) > 5 * metrics.seams(volume, [5, 15])


def test_scattering_knows_a_wave_and_its_gradient_lowers_the_loss():
    z = torch.arange(48.0)[:, None, None]
    q, found = scattering.scattering(torch.sin(2 * torch.pi * z / 8).expand(48, 48, 48))
    peak = q[torch.nan_to_num(found).argmax()]
    assert abs(float(peak) - 2 * np.pi / 8) < 0.1
    noise = torch.randn((32, 32, 32), generator=torch.Generator().manual_seed(0))
    wanted = scattering.scattering(2 * noise)[1]
    volume = noise.clone().requires_grad_()
    before = losses.scattering_loss(volume, wanted)
    assert abs(before.item() - np.log(4) ** 2) < 1e-3
    (slope,) = torch.autograd.grad(before, volume)
    assert losses.scattering_loss(volume - 100 * slope, wanted) < before
    assert losses.scattering_loss(2 * noise, wanted) < 1e-9


# Alignment


def test_fs09_slips_are_found_to_half_a_pixel():
    from scipy.ndimage import shift

    inner = (slice(None), slice(8, -8), slice(8, -8))
    steady = filled_rubber.stack("harder", 0, (40, 128, 128)).astype(np.float32)
    slips = np.random.default_rng(0).normal(0, 1.5, (40, 2))
    slips -= slips.mean(0)
    moved = np.stack([shift(s, by, order=3) for s, by in zip(steady, slips, strict=True)])
    steady, moved = steady[inner], moved[inner]
    found = registration.align_sections(moved)
    assert np.sqrt(np.square(found - slips).mean()) < 0.5 < np.sqrt(np.square(slips).mean())
    back = registration.apply_shifts(moved, slips)
    assert np.abs(back - steady)[inner].mean() < 0.2 * np.abs(moved - steady)[inner].mean()


def test_recipe_fields_reach_the_training():
    recipe = replace(SMALL, steps=2)
    model = training.fit_depth(FEW, 4, "CNN", 0, recipe, progress=False)
    assert model.meta["iterations"] == 2 and model.meta["n"] == 4
    assert model.meta["method"] == "CNN" and model.config["width"] == 8


# Figures


def test_fs01_fs17_figures_show_what_they_are_given(rubber_block):
    image = rubber_block[0] / 255
    figure = viz.depth_workflow(image, image, image, image, 8)
    words = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert "section, 1 row in 8" in words and len(figure.axes[0].child_axes) == 4
    figure = viz.isosurface(rubber_block[:24, :32, :32], 89.5, [image, image], 2.0)
    assert [ax.get_title() for ax in figure.axes] == ["48 × 64 × 64 nm", "section 1", "section 2"]
    with pytest.raises(ValueError, match="no surface"):
        viz.isosurface(rubber_block, 250, [image])
