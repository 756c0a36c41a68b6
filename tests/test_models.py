"""Networks: SR-01, SR-03 to SR-06, SR-14, SR-27, SR-33, CF-SR-08, CF-SR-09; weights on disk."""

import pickle
from math import ceil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib import metrics, models
from srlib.inference import superres
from srlib.models import SuperRes, SuperResCritic, SuperResLite, SuperResLiteCritic, layers
from srlib.models.layers import BatchRenorm, Conv3d


def conv(inputs: int, outputs: int, kernel: int, dims: int = 3) -> int:
    return inputs * outputs * kernel**dims + outputs


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def noisy(model: torch.nn.Module, scale: float = 1.0) -> torch.nn.Module:
    """Random weights that let every voxel matter, in double precision."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(scale * 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    return model.double().eval()


FORMS = {
    2: (1.12, [conv(3, 128, 3), *[conv(128, 128, 3)] * 2, conv(128, 64, 3)], [128] * 3 + [64]),
    4: (
        5.89,
        [conv(3, 256, 3), *[conv(256, 256, 3)] * 2, conv(256, 128, 4), conv(128, 64, 3)],
        [256] * 3 + [128, 64],
    ),
    8: (
        20.07,
        [
            conv(3, 512, 3),
            *[conv(512, 512, 3)] * 2,
            conv(512, 256, 3),
            conv(256, 128, 4),
            conv(128, 64, 3),
        ],
        [512] * 3 + [256, 128, 64],
    ),
}


@pytest.mark.parametrize("scale_factor", FORMS)
def test_cf_sr08_parameters_of_the_paper_generator(scale_factor):
    millions, convolutions, normalised = FORMS[scale_factor]
    expected = sum(convolutions) + 2 * sum(normalised) + conv(64, 3, 3)
    with torch.device("meta"):
        found = parameters(SuperRes(2, 3, scale_factor, noise_channels=1))
    assert found == expected
    assert round(found / 1e6, 2) == millions


def test_cf_sr08_the_block_is_added_to_its_input():
    model = noisy(SuperRes(2, 3, 2))
    torch.nn.init.zeros_(model.block[2][1].weight)
    torch.nn.init.zeros_(model.block[2][1].bias)
    x = torch.rand(2, 3, 3, 3, 3, generator=torch.Generator().manual_seed(4)).double()
    out = model.logits(x)
    assert (out[0] != out[1]).all()


def test_cf_sr09_parameters_of_the_paper_critic():
    by_hand = [conv(3, 64, 4, 2), conv(64, 128, 4, 2), conv(128, 256, 4, 2), conv(256, 512, 3, 2)]
    assert parameters(SuperResCritic(3)) == sum(by_hand) + conv(512, 1, 4, 2) == 1_847_233


def test_cf_sr09_sizes_inside_the_paper_critic():
    x, sizes = torch.rand(2, 3, 56, 56), []
    critic = SuperResCritic(3)
    for layer in critic.layers:
        x = layer(x)
        if isinstance(layer, torch.nn.Conv2d):
            sizes.append(x.shape[-1])
    assert sizes == [28, 14, 7, 4, 1]
    assert critic(torch.rand(5, 3, 56, 56)).shape == (5,)


@pytest.mark.parametrize(
    ("scale_factor", "form"), [(1, 2), (1.6, 2), (2, 2), (64 / 31, 4), (4, 4), (64 / 15, 8), (8, 8)]
)
def test_sr04_three_forms(scale_factor, form):
    d = round(64 / scale_factor)
    with torch.device("meta"):
        model = SuperRes(2, 3, scale_factor)
        assert parameters(model) == parameters(SuperRes(2, 3, form))
        assert model(torch.empty(1, 3, d, d, d)).shape == (1, 3, 64, 64, 64)


@pytest.mark.parametrize("make", [SuperRes, SuperResLite])
@pytest.mark.parametrize("scale_factor", [2, 3, 4, 5, 8, 10])
@pytest.mark.parametrize("shape", [(16, 16, 16), (3, 7, 12), (5, 1, 2)])
def test_sr05_any_input_size(make, scale_factor, shape):
    if make is SuperRes and scale_factor not in (2, 4, 8):
        with pytest.raises(ValueError, match="take SuperResLite"):
            make(2, 2, scale_factor)
        return
    with torch.device("meta"):
        model = make(2, 2, scale_factor)
        found = model(torch.empty(2, 3, *shape)).shape
    assert found == (2, 2, *(scale_factor * n for n in shape))


@pytest.mark.parametrize("shape", [(16, 8, 24), (5, 10, 15)])
def test_sr05_a_fractional_scale_factor(shape):
    with torch.device("meta"):
        found = SuperRes(2, 3, 1.6)(torch.empty(1, 3, *shape)).shape
    assert found == (1, 3, *(ceil(1.6 * n) for n in shape))


@pytest.mark.parametrize(("n", "m"), [(3, 2), (2, 2), (3, 3)])
@pytest.mark.parametrize("noise", [0, 1, 4])
@pytest.mark.parametrize("make", [SuperRes, SuperResLite])
def test_sr01_sr03_sr33_phases_and_noise(n, m, noise, make):
    merged = {"phase_map": [[1, 0], [0, 1], [1, 0]]} if make is SuperResLite and n != m else {}
    model = make(m, n, 2, noise_channels=noise, **merged)
    x = torch.rand(1, m + noise, 3, 4, 2)
    out = model(x)
    assert out.shape == (1, n, 6, 8, 4)
    assert out.min() >= 0
    assert torch.allclose(out.sum(1), torch.ones(1, 6, 8, 4), atol=1e-5)
    with pytest.raises(RuntimeError):
        model(torch.rand(1, m + noise + 1, 3, 4, 2))


@pytest.mark.parametrize("make", [SuperRes, SuperResLite])
def test_sr27_noise_changes_the_volume_unless_there_is_none(make):
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 3, (5, 4, 6), dtype=np.uint8)
    for noise, seeds_matter in ((0, False), (2, True)):
        torch.manual_seed(0)
        model = noisy(make(3, 3, 2, noise_channels=noise), 2).float()
        first, second = (superres.superres(model, lr, seed=s) for s in (1, 2))
        assert np.array_equal(first, superres.superres(model, lr, seed=1))
        assert (first != second).any() == seeds_matter


def reach(model: torch.nn.Module, axis: int, length: int) -> list[int]:
    """Coarse voxels, relative to a changed one in the middle, whose fine voxels change."""
    shape = [1, 1, 1]
    shape[axis] = length
    channels = model.n_lr + model.noise_channels
    x = torch.rand(1, channels, *shape, generator=torch.Generator().manual_seed(2)).double()
    other = x.clone()
    other.select(axis + 2, length // 2).add_(1.0)
    with torch.no_grad():
        changed = (model.logits(x) - model.logits(other)).abs().movedim(axis + 2, 0).flatten(1)
    blocks = changed.amax(1).view(length, -1).amax(1)
    return [i - length // 2 for i in range(length) if blocks[i] > 0]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("scale_factor", [2, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("norm", [False, True])
def test_sr24_halo_of_the_laptop_generator_is_exact(axis, scale_factor, blocks, norm):
    model = noisy(SuperResLite(2, 2, scale_factor, width=4, blocks=blocks, norm=norm)).eval()
    assert reach(model, axis, 2 * model.halo + 5) == list(range(-model.halo, model.halo + 1))


@pytest.mark.parametrize("registration", ["corner", "centre"])
@pytest.mark.parametrize(("scale_factor", "grid"), [(5, 6), (7, 8), (10, 12)])
def test_a_whole_scale_factor_samples_the_next_grid_where_its_voxels_are(
    scale_factor, grid, registration
):
    """A ramp on the finer grid stays one: fine voxel i at i or i + 1/2 of the coarse edge."""
    model = SuperResLite(2, 2, scale_factor, width=2, grid_alignment=registration)
    assert model.grid == grid
    shift = 0 if registration == "corner" else 0.5
    for axis in range(3):
        shape = [1, 1, *(2 if a == axis else 1 for a in range(3))]
        ramp = (torch.arange(2.0 * grid) + shift).view([-1 if n == 2 else 1 for n in shape]) / grid
        ramp = ramp.expand([1, 1, *(2 * grid if n == 2 else grid for n in shape[2:])])
        found = layers.interpolate(ramp, model.scale, grid, registration)
        expected = (torch.arange(2.0 * scale_factor) + shift) / scale_factor
        torch.testing.assert_close(found.movedim(axis + 2, 0).flatten(1)[:, 0], expected)


def test_a_fractional_scale_factor_samples_the_next_grid():
    """Between two voxels of the finer grid, the logits change linearly."""
    torch.manual_seed(0)
    fine = noisy(SuperResLite(2, 2, 2, width=4, grid_alignment="centre")).float().eval()
    torch.manual_seed(0)
    model = noisy(SuperResLite(2, 2, 1.6, width=4, grid_alignment="centre")).float().eval()
    x = torch.randn(1, 3, 5, 5, 10)
    rows, found = fine.logits(x)[0], model.logits(x)[0]
    assert found.shape == (2, 8, 8, 16)
    for axis, n in enumerate((8, 8, 16), start=1):
        place = (torch.arange(n) + 0.5) * 1.25 - 0.5
        low, between = place.long(), (place % 1).view([-1 if a == axis else 1 for a in range(4)])
        rows = rows.index_select(axis, low) * (1 - between) + (
            rows.index_select(axis, low + 1) * between
        )
    torch.testing.assert_close(found, rows)


@pytest.mark.parametrize("norm", [False, True])
def test_with_normalisation_the_voxels_of_a_block_start_alike(norm):
    """Otherwise the coarse grid is there before anything is learned."""
    torch.manual_seed(0)
    model = SuperResLite(0, 3, 8, 2, width=8, refine_channels=0, norm=norm)
    volume = model(torch.randn(1, 2, 4, 4, 4))[0]
    blocks = volume.unflatten(1, (16, 2)).unflatten(3, (16, 2)).unflatten(5, (16, 2))
    spread = blocks.std((2, 4, 6)).max().item()
    assert (spread < 1e-6) == norm


@pytest.mark.parametrize("norm", [False, True])
def test_normalised_features_cannot_move_together(norm):
    model = noisy(SuperResLite(2, 2, 4, width=8, norm=norm)).float().train()
    features = []
    for net in (model.up[0], model.head):  # each gets leaky_relu(features, 0.2)
        net.register_forward_pre_hook(
            lambda _, x: features.append(torch.where(x[0] < 0, 5 * x[0], x[0]))
        )
    with torch.no_grad():
        for weight in model.first.parameters():
            weight.mul_(1000)
        model.logits(torch.rand(1, 3, 6, 6, 6))
    for h in features:  # mean and spread of each channel, whatever came in
        assert (h.std((0, 2, 3, 4)).max() < 1.2) == norm
        assert (h.mean((0, 2, 3, 4)).abs().max() < 0.2) == norm


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_batch_renormalisation_goes_over_to_the_running_statistics(share):
    torch.manual_seed(0)
    norm, window = BatchRenorm(3), 2 * torch.randn(1, 3, 9, 8, 7, requires_grad=True) + 1
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    own, running = (
        F.batch_norm(window, *statistics, norm.weight, norm.bias, statistics[0] is None)
        for statistics in ((None, None), (mean, var))
    )
    norm.share, norm.momentum = share, 0.25
    found = norm(window)
    assert torch.allclose(found, torch.lerp(own, running, share), atol=1e-4)
    step = window.mean((0, 2, 3, 4)) - mean
    assert torch.allclose(norm.running_mean - mean, 0.25 * step, atol=1e-5)
    (slope,) = torch.autograd.grad((found * torch.rand_like(found)).sum(), window)
    assert slope.sum((0, 2, 3, 4)).abs().max() < 1e-2, "no voxels move together"
    (slope,) = torch.autograd.grad((running * torch.rand_like(found)).sum(), window)
    assert slope.sum((0, 2, 3, 4)).abs().max() > 1e2, "as they do with fixed statistics"


@pytest.mark.parametrize("scale_factor", [2, 4, 8])
def test_sr24_halo_of_the_paper_generator_is_exact(scale_factor):
    model = noisy(SuperRes(2, 3, scale_factor))
    assert reach(model, 1, 2 * model.halo + 3) == list(range(-model.halo, model.halo + 1))


def test_sr24_keep_is_the_same_where_it_is_far_from_its_border():
    model = noisy(SuperResLite(2, 2, 4, width=4))
    beyond = model.halo - model.coarse_halo
    x = torch.rand(1, 3, 22, 20, 18, generator=torch.Generator().manual_seed(3)).double()
    keep = tuple(slice(model.coarse_halo, n - model.coarse_halo) for n in x.shape[2:])
    part, whole = model.logits(x, keep), model.logits(x)
    inner = tuple(slice(4 * beyond, 4 * (k.stop - k.start - beyond)) for k in keep)
    outer = tuple(slice(4 * model.halo, 4 * (n - model.halo)) for n in x.shape[2:])
    assert part[(..., *inner)].numel() > 1000
    assert torch.allclose(part[(..., *inner)], whole[(..., *outer)], atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("registration", ["corner", "centre"])
def test_gap16_upsampling_is_registered(registration, axis):
    """A ramp stays a ramp: coarse voxel i at fine 4 i, or at the middle of its block."""
    shape = [2, 3, 4]
    shape[axis] = 6
    ramp = torch.arange(6.0).view([-1 if a == axis else 1 for a in range(3)]).expand(shape)
    fine = layers.upsample(ramp[None, None], 4, registration)
    assert fine.shape[2:] == tuple(4 * n for n in shape)
    line = fine[0, 0].movedim(axis, -1)[1, 2]
    position = torch.arange(24.0) / 4 if registration == "corner" else (torch.arange(24) - 1.5) / 4
    assert torch.allclose(line, position.clamp(0, 5), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 5, 4, 6, 7), (2, 3, 1, 5, 4)], ids=str)
def test_a_3d_convolution_as_a_2d_one_is_the_same(shape):
    conv, x = Conv3d(shape[1], 8), torch.randn(shape, requires_grad=True)
    plain = F.conv3d(x, conv.weight, conv.bias, padding=1)
    wanted = torch.randn_like(plain)
    inputs = (x, conv.weight, conv.bias)
    for memory in (torch.contiguous_format, torch.channels_last_3d):
        found = conv(x.contiguous(memory_format=memory))
        torch.testing.assert_close(found, plain)
        for ours, theirs in zip(
            torch.autograd.grad(found, inputs, wanted),
            torch.autograd.grad(plain, inputs, wanted, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_only_a_training_in_32_bit_numbers_goes_the_2d_way(monkeypatch):
    conv, x, seen = Conv3d(2, 8), torch.zeros(1, 2, 3, 3, 3), []
    monkeypatch.setattr(torch.nn.Conv3d, "forward", lambda self, x: seen.append("3D"))
    conv(x)
    assert not seen
    with torch.no_grad():
        conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x)
    assert seen == ["3D", "3D"]


def test_pixel_shuffle_puts_each_channel_in_its_place():
    x = torch.arange(16.0).view(1, 16, 1, 1, 1) + 100 * torch.arange(2.0).view(1, 1, 1, 1, 2)
    out = layers.shuffle(x)
    assert out.shape == (1, 2, 2, 2, 4)
    assert out[0, 1, 0].tolist() == [[8, 9, 108, 109], [10, 11, 110, 111]]
    assert out[0, 0, 1].tolist() == [[4, 5, 104, 105], [6, 7, 106, 107]]
    by_three = layers.shuffle(torch.arange(54.0).view(1, 54, 1, 1, 1), 3)[0]
    assert by_three.flatten().tolist() == list(range(54)) and by_three.shape == (2, 3, 3, 3)


@pytest.mark.parametrize(
    ("mode", "registration", "share"), [("nearest", "corner", 1.0), ("blur", "centre", 0.97)]
)
def test_the_laptop_generator_starts_as_interpolation(mode, registration, share):
    """Every coarse voxel is reproduced before the first step, and the network adds little."""
    rng = np.random.default_rng(1)
    lr = np.kron(rng.integers(0, 3, (4, 5, 6)), np.ones((3, 3, 3))).astype(np.uint8)
    torch.manual_seed(0)
    model = SuperResLite(3, 3, 4, width=32, grid_alignment=registration)
    sr = superres.superres(model, lr)
    assert metrics.consistency(sr, lr[1:-1, 1:-1, 1:-1], 4, mode) >= share
    x = torch.from_numpy(np.eye(3, dtype=np.float32)[lr]).movedim(-1, 0)[None]
    plain = layers.upsample(x, 4, registration).argmax(1)[0].numpy().astype(np.uint8)
    assert (sr == plain[4:-4, 4:-4, 4:-4]).mean() > 0.9
    without = superres.superres(SuperResLite(3, 3, 4, grid_alignment=registration, skip=False), lr)
    assert metrics.consistency(without, lr[1:-1, 1:-1, 1:-1], 4, mode) < 0.6


def test_the_laptop_generator_starts_in_the_phases_of_the_map():
    lr = np.zeros((6, 6, 6), np.uint8)
    lr[3:] = 1
    torch.manual_seed(0)
    model = SuperResLite(2, 3, 4, grid_alignment="centre", phase_map=[[0, 1], [1, 0], [0, 1]])
    sr = superres.superres(model, lr)
    assert set(np.unique(sr[:6])) == {1} and set(np.unique(sr[-6:])) <= {0, 2}


@pytest.mark.parametrize("size", [32, 40, 57])
def test_the_laptop_critic_takes_slices_of_any_size(size):
    assert SuperResLiteCritic(3)(torch.rand(4, 3, size, size + 1)).shape == (4,)


# Weights on disk

MADE = {
    "laptop": lambda: SuperResLite(2, 3, 4, 2, width=4, phase_map=[[1, 0], [0, 1], [1, 0]]),
    "laptop critic": lambda: SuperResLiteCritic(3, width=4),
    "paper": lambda: SuperRes(2, 3, 1.6, 0),
    "paper critic": lambda: SuperResCritic(2),
}


@pytest.mark.parametrize("name", MADE)
def test_a_saved_model_comes_back(name, tmp_path):
    model = MADE[name]()
    for buffer in model.buffers():
        buffer.add_(3)
    path = models.save(model, tmp_path / "new" / "m.safetensors", {"seed": 7, "voxel_nm": None})
    again = models.load(path)
    assert type(again) is type(model) and again.config == model.config
    assert again.meta["seed"] == 7 and again.meta["voxel_nm"] is None
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]


def test_shipped_weights_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("srlib.models.weights.WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="there are none"):
        models.load("case9")
    for seed in range(3):
        models.save(SuperResLiteCritic(3), tmp_path / f"case9-real-{seed}.safetensors")
    assert isinstance(models.load("case9-real-1"), SuperResLiteCritic)
    with pytest.raises(ValueError, match="no weights 'case8': there are case9, each"):
        models.load("case8")


class Trap:
    """A pickle that leaves a trace when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_are_never_unpickled(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "m.safetensors"
    pickle.loads(pickle.dumps(Trap(trace))).close()
    assert trace.exists()
    trace.unlink()
    for write in (
        lambda: path.write_bytes(pickle.dumps(Trap(trace))),
        lambda: torch.save({"model": Trap(trace)}, path),
    ):
        write()
        with pytest.raises(ValueError, match="damaged or no weights file"):
            models.load(path)
        assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_truncated_weights_say_so(tmp_path, share):
    path = models.save(MADE["laptop"](), tmp_path / "m.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="damaged"):
        models.load(path)


def test_a_failed_write_leaves_the_former_weights(tmp_path, monkeypatch):
    path = models.save(SuperResLiteCritic(3), tmp_path / "m.safetensors", {"seed": 1})

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="free some space"):
        models.save(SuperResLiteCritic(3), path, {"seed": 2})
    assert models.load(path).meta["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_texture_is_smooth_fields_of_the_fine_noise():
    with pytest.raises(ValueError, match="texture is made of fine noise"):
        SuperResLite(2, 2, 4, width=4, texture=2)
    torch.manual_seed(0)
    model = SuperResLite(2, 2, 4, width=4, fine_noise=True, texture=2)
    fields = model.texture(torch.randn(1, 1, 48, 48, 48)).detach()[0]
    for field, sigma in zip(fields, (1.0, 1.6), strict=True):
        assert field.std().item() == pytest.approx(1, abs=0.1)
        alike = (field[1:] * field[:-1]).mean() / field.square().mean()
        assert alike.item() == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.05)


def test_weights_are_loaded_or_trained_anew():
    def fail() -> None:
        pytest.fail("it was trained")

    assert models.load_or_train("case3-twin-0", fail).meta["case"] == "case3"
    fresh = models.SuperResLite(2, 2, 2, width=4)
    assert models.load_or_train("case3-twin-0", lambda: fresh, anew=True) is fresh
