"""Restoration: losses, the network, pairs, the three trainings, and the steps of InDI."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from srlib import losses, models, training
from srlib.data import normalization
from srlib.inference import restoration
from srlib.models import PatchCritic, RestorationUNet
from srlib.synthetic import nanoct
from srlib.training.supervised import one_cycle

TINY = training.RestorationRecipe(steps=4, crop=32, batch=2, width=8)


def slices(n: int = 6, edge: int = 48, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(0.4 * rng.standard_normal((n, edge, edge)), -1, 1).astype(np.float32)


def tiny_pairs() -> training.Pairs:
    hq = slices()
    return training.Pairs(0.5 * hq, hq, np.ones(hq.shape[1:], bool))


@pytest.fixture
def network() -> RestorationUNet:
    torch.manual_seed(0)
    model = RestorationUNet(8, dilations=(1, 2)).eval()
    for parameter in (model.last.weight, model.last.bias):
        nn.init.normal_(parameter, std=0.1)
    return model


# Losses


def test_in12_berhu_is_continuous_and_no_slope_is_below_one():
    r = torch.tensor([-1.0, -0.5001, -0.5, -0.2, 0.2, 0.5, 0.5001, 2.0], requires_grad=True)
    values = torch.stack([losses.berhu(x, torch.zeros(())) for x in r])
    wanted = [1.25, 0.5001, 0.5, 0.2, 0.2, 0.5, 0.5001, 4.25]
    assert values.tolist() == pytest.approx(wanted, abs=1e-4)
    (slope,) = torch.autograd.grad(values.sum(), r)
    assert slope.tolist() == pytest.approx([-2, -1.0002, -1, -1, 1, 1, 1.0002, 4], abs=1e-3)


def test_in12_berhu_counts_only_what_the_mask_says():
    found, wanted = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    found[0, 0, 0, 0], found[0, 0, 1, 1] = 0.4, 2.0
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert losses.berhu(found, wanted, mask).item() == pytest.approx(0.4 / 6)
    with pytest.raises(ValueError, match="differ"):
        losses.berhu(found, wanted[:1])


def test_hinge_is_zero_when_scores_are_clear():
    assert losses.hinge(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -2.0])) == 0
    assert losses.hinge(torch.tensor([0.5]), torch.tensor([0.25])).item() == pytest.approx(1.75)


# The network


def test_in13_an_untrained_network_gives_its_input_back():
    x = torch.rand(2, 1, 16, 24) * 2 - 1
    assert torch.allclose(RestorationUNet(8)(x, torch.ones(2)), x.clamp(-0.98, 0.98), atol=1e-5)
    assert torch.allclose(RestorationUNet(8, tanh=False)(x, torch.ones(2)), x)
    two = RestorationUNet(8, tanh=False, channels=2)(torch.cat([x, 0 * x], 1), torch.ones(2))
    assert torch.allclose(two, x)


def test_in16_nothing_is_changed_when_nothing_is_left_to_do(network):
    x = torch.rand(1, 1, 16, 24) - 0.5
    assert torch.allclose(network(x, torch.zeros(1)), x, atol=1e-5)
    late, early = ((network(x, torch.full((1,), t)) - x).abs().mean() for t in (0.1, 1.0))
    assert 0 < late < 0.3 * early


def test_in13_no_output_depends_on_more_than_reach(network):
    edge, middle = 2 * network.reach + 41, network.reach + 20
    edge += -edge % network.multiple
    x = torch.randn(1, 1, edge, edge, requires_grad=True)
    network(x, torch.ones(1))[0, 0, middle, middle].backward()
    heard = (x.grad[0, 0] != 0).nonzero()
    far = (heard - middle).abs().max().item()
    assert 0.6 * network.reach < far <= network.reach


def test_in14_the_answer_depends_on_the_time(network):
    x = torch.randn(1, 1, 32, 32)
    assert not torch.allclose(network(x, torch.ones(1)), network(x, torch.full((1,), 0.5)))


@pytest.mark.parametrize("upsample", ["subpixel", "nearest", "bicubic"])
def test_in15_each_way_up_keeps_the_size(upsample):
    out = RestorationUNet(8, upsample=upsample)(torch.zeros(1, 1, 24, 40), torch.ones(1))
    assert out.shape == (1, 1, 24, 40)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RestorationUNet(10), "multiple of 8"),
        (lambda: RestorationUNet(upsample="linear"), "subpixel"),
        (lambda: RestorationUNet(8)(torch.zeros(1, 1, 30, 32), torch.ones(1)), "multiples of 8"),
        (lambda: training.Pairs(slices(), slices(5), np.ones((48, 48), bool)), "alike"),
        (lambda: training.Pairs(2 * slices(), slices(), np.ones((48, 48), bool)), r"in \[-1, 1\]"),
        (lambda: training.Pairs(slices(), slices(), np.zeros((48, 48), bool)), "empty"),
        (lambda: tiny_pairs().draw(1, 64, torch.Generator()), "larger than a slice"),
        (lambda: training.fit_restorer(tiny_pairs(), "diffusion"), "InDI, CNN, GAN"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_networks_survive_the_disk(network, tmp_path):
    for model in (network, PatchCritic(8)):
        models.save(model, tmp_path / "w.safetensors")
        again = models.load(tmp_path / "w.safetensors")
        assert again.config == model.config
    x = torch.randn(1, 1, 16, 16)
    models.save(network, tmp_path / "w.safetensors")
    assert torch.equal(
        models.load(tmp_path / "w.safetensors")(x, torch.ones(1)), network(x, torch.ones(1))
    )


# Pairs and trainings


def test_in10_both_slices_are_turned_alike():
    lq, hq, weight = tiny_pairs().draw(40, 32, torch.Generator().manual_seed(0))
    assert torch.allclose(lq, 0.5 * hq) and weight.min() == 1
    assert lq.shape == hq.shape == weight.shape == (40, 1, 32, 32)
    ramp = np.broadcast_to(np.linspace(-1, 1, 48, dtype=np.float32), (6, 48, 48)).copy()
    _, hq, _ = training.Pairs(ramp, ramp, np.ones((48, 48), bool)).draw(
        40, 32, torch.Generator().manual_seed(0)
    )
    ways = {
        tuple(np.sign([float(x[0, 0, -1] - x[0, 0, 0]), float(x[0, -1, 0] - x[0, 0, 0])]))
        for x in hq
    }
    assert ways == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    straight = training.Pairs(ramp, ramp, np.ones((48, 48), bool), turn=False)
    assert (straight.draw(40, 32, torch.Generator().manual_seed(0))[1].diff(dim=-1) > 0).all()


def test_in11_the_rate_rises_and_falls_once():
    rates = [one_cycle(i, 100) for i in range(100)]
    top = int(np.argmax(rates))
    assert 20 <= top <= 30 and max(rates) == pytest.approx(1, abs=0.01)
    assert all(np.diff(rates[:top]) > 0) and all(np.diff(rates[top:]) < 0) and rates[-1] < 0.01


@pytest.mark.parametrize("method", training.METHODS)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(method, tmp_path):
    how = dict(recipe=TINY, device="cpu", progress=False)
    whole = training.fit_restorer(tiny_pairs(), method, 1, **how)

    class Killed(Exception):
        pass

    class Dying(training.Pairs):
        left = 2

        def draw(self, *arguments):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return super().draw(*arguments)

    hq = slices()
    path = tmp_path / "c.checkpoint"
    with pytest.raises(Killed):
        training.fit_restorer(
            Dying(0.5 * hq, hq, np.ones((48, 48), bool)), method, 1, out=path, save_every=1, **how
        )
    again = training.fit_restorer(tiny_pairs(), method, 1, out=path, save_every=1, **how)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert whole.meta["losses"] == again.meta["losses"]
    other = {"InDI": "CNN", "CNN": "InDI", "GAN": "CNN"}[method]
    with pytest.raises(ValueError, match="another recipe, seed or data"):
        training.fit_restorer(tiny_pairs(), other, 1, out=path, **how)
    assert whole.meta["method"] == method and len(whole.meta["losses"]) == TINY.steps


@pytest.mark.slow
def test_in16_a_training_learns_to_undo_a_known_damage():
    """Half the contrast: InDI and the CNN give it back, and without training nothing does."""
    hq = slices(8)
    pairs = training.Pairs(0.5 * hq, hq, np.ones((48, 48), bool))
    recipe = training.RestorationRecipe(
        steps=150, crop=32, batch=4, width=8, rate=2e-3, ema_decay=0.9
    )
    for method, steps in (("InDI", 4), ("CNN", 1)):
        model = training.fit_restorer(pairs, method, 0, recipe, "cpu", progress=False)
        error = np.abs(restoration.restore(model, 0.5 * hq, steps) - hq).mean()
        assert error < 0.5 * np.abs(0.5 * hq - hq).mean(), method


# Steps


class Perfect(nn.Module):
    """Knows the answer."""

    multiple = 1

    def __init__(self, answer: np.ndarray) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.from_numpy(answer)[None, None])
        self.times = []

    def forward(self, x, t):
        self.times.append(round(float(t), 6))
        return self.answer.expand_as(x)


def test_in17_a_perfect_network_gives_the_answer_in_any_number_of_steps():
    answer, measured = slices(2)
    for steps in (1, 3, 8):
        model = Perfect(answer)
        assert np.allclose(restoration.restore(model, measured, steps), answer, atol=1e-6)
        assert model.times == pytest.approx([1 - k / steps for k in range(steps)], abs=1e-5)


def test_in17_a_path_leads_straight_to_a_perfect_answer():
    answer, measured = slices(2)
    found = list(restoration.path(Perfect(answer), measured, 4))
    for k, image in enumerate(found, 1):
        assert np.allclose(image, answer * k / 4 + measured * (1 - k / 4), atol=1e-6)
    early = restoration.restore(Perfect(answer), measured, 4, stop=2)
    assert np.allclose(early, found[1])


def test_in17_one_step_is_plain_regression(network):
    image = slices(1, 40)[0]
    with torch.inference_mode():
        plain = network(torch.from_numpy(image)[None, None], torch.ones(1))[0, 0].float().numpy()
    assert np.allclose(restoration.restore(network, image, 1), plain, atol=0.02)  # bf16


@pytest.mark.parametrize("shape", [(90, 70), (61, 113)])
def test_in17_tiles_give_the_same_pixels(network, shape):
    image = np.clip(0.3 * np.random.default_rng(0).standard_normal(shape), -1, 1)
    whole = restoration.restore(network, image, 2)
    tiled = restoration.restore(network, image, 2, tile=24)
    assert whole.shape == shape
    assert np.abs(tiled - whole).max() < 0.02  # rounding of bf16; a wrong halo gives 0.1 and more
    stack = restoration.restore(network, np.stack([image, image[::-1]]), 2)
    assert np.allclose(stack[0], whole, atol=0.02)


@pytest.mark.parametrize(
    ("image", "how", "words"),
    [
        (np.zeros((2, 2, 2, 2)), {}, "slice"),
        (np.full((8, 8), np.nan), {}, "finite"),
        (np.full((8, 8), 200.0), {}, "scaled"),
        (np.zeros((8, 8)), {"steps": 0}, "1 or more"),
        (np.zeros((8, 8)), {"steps": 2, "stop": 3}, "stop"),
    ],
)
def test_an_image_or_steps_that_cannot_be_are_refused(network, image, how, words):
    with pytest.raises(ValueError, match=words):
        restoration.restore(network, image, **how)


# Diffusion


class Known(nn.Module):
    """Answers with the posterior mean of grey values that are Gaussian: 0.6 of y, sd 0.2."""

    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.zeros(())), 0

    def forward(self, pair, s):
        self.calls += 1
        a, b = restoration.noise_level(s)
        mean = 0.6 * pair[:, 1:]
        return mean + 0.04 * a / (0.04 * a**2 + b**2) * (pair[:, :1] - a * mean)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_in31_a_diffusion_draws_from_what_fits_the_measurement(eta):
    model, y = Known(), np.full((64, 64), 0.5, np.float32)
    found = restoration.diffuse(model, y, 100, seed=3, eta=eta)
    assert model.calls == 100 and found.shape == y.shape
    assert found.mean() == pytest.approx(0.3, abs=0.02) and found.std() == pytest.approx(
        0.2, rel=0.1
    )
    again, other = (restoration.diffuse(model, y, 8, seed=k, eta=eta) for k in (3, 4))
    assert np.array_equal(again, restoration.diffuse(model, y, 8, seed=3, eta=eta))
    assert not np.allclose(again, other, atol=0.05)
    with pytest.raises(ValueError, match="1 or more"):
        restoration.diffuse(model, y, 0)


@pytest.mark.slow
def test_in31_a_diffusion_learns_to_undo_a_known_damage():
    hq = gaussian_filter(slices(8), (0, 4, 4), mode="wrap")
    hq = np.clip(0.5 * hq / hq.std(), -1, 1)
    pairs = training.Pairs(0.3 * hq, hq, np.ones((48, 48), bool))
    recipe = training.RestorationRecipe(
        steps=500, crop=32, batch=8, width=8, rate=3e-3, ema_decay=0.9
    )
    model = training.fit_diffusion(pairs, 0, recipe, "cpu", progress=False)
    error = np.abs(restoration.diffuse(model, 0.3 * hq, 32) - hq).mean()
    assert error < 0.8 * np.abs(0.3 * hq - hq).mean()
    assert model.meta["method"] == "diffusion" and len(model.meta["losses"]) == 500


# From scans to pairs


def test_in04_equalised_values_are_uniform():
    rng = np.random.default_rng(0)
    volume, mask = rng.gamma(2, size=(3, 40, 40)), normalization.disc(40)
    flat = normalization.equalised(volume, mask)[:, mask]
    assert np.abs(np.quantile(flat, [0.1, 0.5, 0.9]) - [-0.8, 0, 0.8]).max() < 0.01
    order = np.argsort(volume[:, mask].ravel())
    assert (np.diff(flat.ravel()[order]) >= 0).all()


def test_in05_a_fine_voxel_lies_where_its_centre_does():
    ramp = np.arange(20.0)[:, None, None] * np.ones((1, 8, 8))
    fine = normalization.upscaled(ramp)
    assert fine.shape == (40, 16, 16)
    assert np.allclose(fine[8:-8, 4, 4], (np.arange(40) / 2 - 0.25)[8:-8], atol=2e-3)


def test_in09_no_slice_is_near_another_part():
    found = nanoct.parts(104)
    assert [s.stop - s.start for s in found.values()] == [54, 10, 10]
    assert found["choose"].start - found["train"].stop == nanoct.GAP
    assert found["judge"].start - found["choose"].stop == nanoct.GAP - nanoct.BEYOND
    with pytest.raises(ValueError, match="too few"):
        nanoct.parts(50)


def test_limits_are_of_the_mask_and_bad_volumes_are_refused():
    volume = np.zeros((2, 20, 20))
    volume[:, 10, 10], volume[:, 0, 0] = 1, 99
    low, high = normalization.limits(volume, normalization.disc(20), cut=0)
    assert (low, high) == (0, 1)
    assert normalization.scaled(volume, (low, high)).max() == 1
    with pytest.raises(ValueError, match="one grey value"):
        normalization.limits(np.ones((2, 20, 20)), normalization.disc(20))
    with pytest.raises(ValueError, match="NaN"):
        normalization.limits(np.full((2, 20, 20), np.nan), normalization.disc(20))


def test_in07_a_pair_is_registered_better_than_not():
    (state,) = nanoct.cell(2, shape=(64, 288, 288), progress=False, folder=None)
    plain = nanoct.pair(state, registered=False)
    found = nanoct.pair(state, progress=False)
    assert found.residual < 0.4 * plain.residual
    assert found.lq.shape == found.hq.shape == found.truth.shape == found.labels.shape

    def error(of: nanoct.Pair) -> float:
        return float(np.abs(of.lq - of.truth)[:, of.mask].mean())

    assert error(found) < error(plain)
    with pytest.raises(ValueError, match="no HQ scan"):
        nanoct.pair(nanoct.State(*[None] * 6))
