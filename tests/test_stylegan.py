"""StyleGAN2 with adaptive augmentation: network, augmentations, losses, training, images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib import losses, metrics, models, training
from srlib.data import one_hot
from srlib.models import StyleCritic, StyleGenerator
from srlib.models.stylegan import Linear, Modulated, widths
from srlib.training import augmentation
from srlib.training.stylegan import StyleGANTrainer

TINY = training.SynthesisRecipe(
    iterations=6, batch=4, edge=16, latent=8, width=4, max_channels=8, check_every=2, span=20
)
ALL = (
    augmentation.mirrors,
    augmentation.quarter_turns,
    augmentation.shifts,
    augmentation.zooms,
    augmentation.cutouts,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stripes(n: int = 3, edge: int = 40) -> list[np.ndarray]:
    """Vertical stripes, six pixels of phase 1 and two of 2, then eight of 0."""
    row = np.array([1] * 6 + [2] * 2 + [0] * 8, np.uint8)
    return [np.tile(np.resize(np.roll(row, k), edge), (edge, 1)) for k in range(n)]


@pytest.fixture
def generator() -> StyleGenerator:
    torch.manual_seed(0)
    return StyleGenerator(3, edge=16, latent=8, width=8, max_channels=16).eval()


# Networks


@pytest.mark.parametrize(("n", "edge"), [(2, 8), (4, 32), (3, 64)])
def test_images_are_probabilities_of_their_size_and_get_one_score(n, edge):
    images = StyleGenerator(n, edge, latent=8, width=4, max_channels=8)(torch.randn(4, 8))
    assert images.shape == (4, n, edge, edge) and images.min() >= 0
    assert torch.allclose(images.sum(1), torch.ones(4, edge, edge), atol=1e-5)
    assert StyleCritic(n, edge, width=4, max_channels=8)(images).shape == (4,)


def test_channels_double_until_there_are_enough():
    assert widths(64, 16, 96) == {4: 96, 8: 96, 16: 64, 32: 32, 64: 16}


@pytest.mark.parametrize("edge", [4, 24, 65])
def test_an_edge_that_is_no_power_of_two_is_refused(edge):
    with pytest.raises(ValueError, match=f"16, 32, 64 ..., not {edge}"):
        StyleGenerator(2, edge)


def test_latents_of_another_length_are_refused(generator):
    with pytest.raises(ValueError, match=r"must be \(B, 8\)"):
        generator(torch.randn(2, 9))


def test_demodulation_gives_unit_variance_for_any_style():
    torch.manual_seed(0)
    layer = Modulated(16, 24, 8)
    x, w = torch.randn(3, 16, 64, 64), torch.randn(3, 8) * torch.tensor([[0.1], [1.0], [30.0]])
    inside = layer(x, w)[..., 1:-1, 1:-1]
    assert torch.allclose(inside.var((2, 3)), torch.ones(3, 24), rtol=0.15)
    layer.demodulate = False
    assert layer(x, w).var((1, 2, 3))[2] > 10


def test_scaling_features_is_modulating_weights():
    torch.manual_seed(1)
    layer, x, w = Modulated(5, 7, 4), torch.randn(2, 5, 9, 9), torch.randn(2, 4)
    for image, style, found in zip(x, layer.style(w), layer(x, w), strict=True):
        weight = layer.weight * style[:, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        assert torch.allclose(F.conv2d(image[None], weight, padding=1)[0], found, atol=1e-4)


def test_an_equalised_layer_keeps_the_variance_and_learns_at_its_rate():
    torch.manual_seed(0)
    layer = Linear(256, 64, bias=1.0, rate=0.01)
    out = layer(torch.randn(500, 256))
    assert out.var().item() == pytest.approx(1, rel=0.1)
    assert out.mean().item() == pytest.approx(1, abs=0.1)
    before = layer(torch.ones(1, 256)).detach()
    with torch.no_grad():
        layer.weight += 1.0
    assert torch.allclose(layer(torch.ones(1, 256)) - before, torch.tensor(0.16), atol=1e-4)


def test_latents_act_through_their_direction_and_noise_acts_beside_them(generator):
    a, b = torch.randn(2, 1, 8)
    first = generator(a, rng())
    assert torch.equal(first, generator(a, rng()))
    assert torch.allclose(first, generator(3 * a, rng()), atol=1e-4)
    assert (first - generator(b, rng())).abs().mean() > 0.01
    assert (first - generator(a, rng(1))).abs().mean() > 0.01
    with torch.no_grad():
        for layer in (*generator.first, *generator.second):
            layer.strength.zero_()
    assert (first - generator(a, rng())).abs().mean() > 1e-3


def test_an_isotropic_generator_turns_its_images_in_all_eight_ways():
    torch.manual_seed(0)
    plain = StyleGenerator(2, 8, latent=4, width=4, max_channels=8)
    turning = StyleGenerator(2, 8, latent=4, width=4, max_channels=8, isotropic=True)
    turning.load_state_dict(plain.state_dict())
    z, ways = torch.randn(64, 4), set()
    for a, b in zip(plain(z, rng()), turning(z, rng()), strict=True):
        eight = [torch.rot90(x, k, (1, 2)) for x in (a, a.flip(2)) for k in range(4)]
        found = [k for k, x in enumerate(eight) if torch.equal(x, b)]
        assert len(found) == 1
        ways |= set(found)
    assert ways == set(range(8))


def test_the_critic_sees_how_far_a_group_is_spread():
    critic = StyleCritic(2, 8, width=4, max_channels=8)
    x = torch.tensor([1.0, 1, 1, 1, 0, 0, 4, 4]).view(8, 1, 1, 1).expand(8, 3, 4, 4)
    spread = critic.spread(x)
    assert spread.shape == (8, 1, 4, 4)
    assert torch.allclose(spread[:4], torch.tensor(1e-4), atol=1e-5)
    assert torch.allclose(spread[4:], torch.tensor(2.0))


def test_networks_survive_the_disk(generator, tmp_path):
    for model in (generator, StyleCritic(3, 16, width=4, max_channels=8)):
        models.save(model, tmp_path / "w.safetensors")
        again = models.load(tmp_path / "w.safetensors")
        assert type(again) is type(model) and again.config == model.config
    models.save(generator, tmp_path / "w.safetensors")
    z = torch.randn(2, 8)
    assert torch.equal(models.load(tmp_path / "w.safetensors")(z, rng()), generator(z, rng()))


# Augmentations


def labels(n: int = 3, edge: int = 16) -> torch.Tensor:
    found = np.random.default_rng(0).integers(0, n, (8, edge, edge))
    return one_hot(found, n).movedim(0, 1)


@pytest.mark.parametrize("act", [*ALL, augmentation.augment], ids=lambda f: f.__name__)
def test_ada_nothing_is_done_at_p_0_and_phases_sum_to_one_at_p_1(act):
    x = labels().requires_grad_()
    assert torch.equal(act(x, 0.0, rng()), x)
    changed = act(x, 1.0, rng())
    assert changed.shape == x.shape and changed.min() > -1e-5
    assert torch.allclose(changed.sum(1), torch.ones(8, 16, 16), atol=1e-5)
    assert all((a - b).abs().max() > 0.1 for a, b in zip(changed, x, strict=True))
    weight = torch.randn(x.shape, generator=rng(1))
    (slope,) = torch.autograd.grad((changed * weight).sum(), x)
    assert (slope.abs().sum((1, 2, 3)) > 0).all()


def test_ada_p_is_the_share_of_images_that_are_changed():
    x = torch.arange(2.0).view(1, 1, 1, 2).expand(4000, 1, 1, 2)
    share = (augmentation.mirrors(x, 0.3, rng()) != x).any(3).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.03)


def test_ada_what_each_augmentation_does():
    x = labels(edge=24)
    assert torch.equal(augmentation.mirrors(x, 1.0, rng()), x.flip(3))
    pairs = zip(x, augmentation.quarter_turns(x, 1.0, rng()), strict=True)
    ways = [[torch.equal(b, a.rot90(k, (1, 2))) for k in range(4)] for a, b in pairs]
    assert all(sum(way) == 1 and not way[0] for way in ways)
    wide, moved = F.pad(x, (3,) * 4, mode="reflect"), augmentation.shifts(x, 1.0, rng())
    parts = [(a, b) for a in range(7) for b in range(7)]
    for a, b in zip(wide, moved, strict=True):
        assert sum(torch.equal(a[:, i : i + 24, j : j + 24], b) for i, j in parts) == 1
    cut, mean = augmentation.cutouts(x, 1.0, rng()), x.mean((2, 3), keepdim=True)
    grey = (cut == mean).all(1).sum((1, 2))
    assert (grey > 0).all() and grey.max() == 144


def test_ada_a_zoom_keeps_the_middle_and_the_shares():
    y, x = np.mgrid[:32, :32] - 15.5
    disc = one_hot((y**2 + x**2 < 64)[None].repeat(64, 0), 2).movedim(0, 1)
    zoomed = augmentation.zooms(disc, 1.0, rng())
    assert zoomed[:, 1, 15:17, 15:17].min() > 0.99
    radius = (zoomed[:, 1].sum((1, 2)) / np.pi).sqrt() / 8
    assert radius.log2().std().item() == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize(
    ("p", "overfitting", "wanted"),
    [(0.1, 0.9, 0.2), (0.1, 0.3, 0.0), (0.5, 0.3, 0.4), (0.5, 0.6, 0.5), (0.75, 1.0, 0.8)],
)
def test_ada_p_rises_when_the_critic_is_too_sure(p, overfitting, wanted):
    assert augmentation.adapted(p, overfitting, images=64, span=640) == pytest.approx(wanted)


# Losses


def test_r1_of_a_linear_critic_is_half_the_square_of_its_slope():
    slope = torch.zeros(3, 4, 4)
    slope[0, 1, 2], slope[2, 3, 0] = 3.0, -4.0
    real = torch.rand(5, 3, 4, 4)
    found = losses.r1_penalty(lambda x: (x * slope).sum((1, 2, 3)), real, weight=2.0)
    assert found.item() == pytest.approx(25.0)
    assert losses.r1_penalty(lambda x: 0 * x.sum((1, 2, 3)), real) == 0
    weight = torch.ones((), requires_grad=True)
    losses.r1_penalty(lambda x: weight * (x * slope).sum((1, 2, 3)), real).backward()
    assert weight.grad.item() == pytest.approx(25.0)


def test_logistic_loss_in_closed_form():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.0, 3.0])
    wanted = np.log1p(np.exp([-2, 1])).mean() + np.log1p(np.exp([0, 3])).mean()
    assert losses.logistic_critic_loss(real, fake).item() == pytest.approx(wanted, rel=1e-5)
    wanted = np.log1p(np.exp([0, -3])).mean()
    assert losses.nonsaturating_generator_loss(fake).item() == pytest.approx(wanted, rel=1e-5)


# Training and images


def fit(images=None, recipe=TINY, **how) -> StyleGenerator:
    how = dict(device="cpu", progress=False) | how
    return training.fit_stylegan(images or stripes(), 3, recipe=recipe, **how)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    whole, path = fit(seed=1), tmp_path / "c.checkpoint"
    step = StyleGANTrainer.step

    def dies(self):
        if self.iteration == 5:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(StyleGANTrainer, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        fit(seed=1, out=path)
    monkeypatch.undo()
    again = fit(seed=1, out=path)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    histories = [[{**e, "seconds": 0} for e in m.meta["history"]] for m in (whole, again)]
    assert histories[0] == histories[1] and [e["iteration"] for e in histories[0]] == [2, 4, 6]
    for other in ({"seed": 2}, {"seed": 1, "ada": False}, {"recipe": replace(TINY, rate=1e-3)}):
        with pytest.raises(ValueError, match="another recipe, seed or data"):
            fit(out=path, **{"seed": 1, **other})
    before = fit(seed=2).state_dict()
    assert any(not torch.equal(v, before[k]) for k, v in whole.state_dict().items())


def test_p_moves_with_ada_only_and_what_was_done_is_kept():
    seen = []
    always = replace(TINY, iterations=12, target=-1.5)  # any critic is too sure
    model = fit(recipe=always, callback=lambda history: seen.append(history[-1]["p"]))
    assert seen[0] == 0 and seen[-1] == 0.8 and sorted(seen) == seen
    assert [e["p"] for e in model.meta["history"]] == seen
    assert {"r_t", "critic", "generator", "penalty"} <= set(model.meta["history"][0])
    assert model.meta["recipe"]["edge"] == 16 and model.meta["seconds"] > 0
    without = fit(recipe=always, ada=False)
    assert {e["p"] for e in without.meta["history"]} == {0.0}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "at least one"),
        (stripes()[0], "at least one"),
        ([stripes()[0].astype(float)], "uint8 phases, not .* float64"),
        ([np.zeros((3, 40, 40), np.uint8)], r"\(H, W\)"),
        ([[[0, 1]]], r"not \(1, 2\) list"),
        ([stripes()[0], stripes()[0][:15]], "image 1 .* smaller than 16"),
        ([stripes()[0] + 1], "phase 3, but there are 3"),
    ],
)
def test_images_that_cannot_be_learned_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        training.fit_stylegan(images, 3, recipe=TINY, progress=False)


def test_images_of_a_seed_are_the_same_however_many(generator):
    few, many = training.synthesise(generator, 3, 1), training.synthesise(generator, 70, 1)
    assert few.dtype == np.uint8 and many.shape == (70, 16, 16) and few.max() < 3
    assert np.array_equal(few, many[:3])
    assert len(np.unique(many, axis=0)) == 70
    assert not np.array_equal(few, training.synthesise(generator, 3, 2))
    soft = training.synthesise(generator, 3, 1, hard=False)
    assert soft.dtype == np.float32 and np.array_equal(soft.argmax(1), few)
    with pytest.raises(ValueError, match="1 or more"):
        training.synthesise(generator, 0)


def test_truncation_takes_variety_away(generator):
    def variety(truncation: float) -> float:
        soft = training.synthesise(generator, 64, 0, hard=False, truncation=truncation)
        return soft.std(0).mean()

    assert variety(0.0) < variety(0.5) < variety(1.0)


def test_a_short_training_comes_close_to_the_statistics_of_its_images():
    images = stripes(8)
    recipe = replace(
        TINY, iterations=200, batch=8, width=8, max_channels=32, ema_decay=0.97, span=1e4
    )
    recipe = replace(recipe, isotropic=False)

    def far(model: StyleGenerator) -> float:
        pairs = (np.stack(images), training.synthesise(model, 200))
        found = [[metrics.two_point(x, a, a, 2, 10) for a in range(3)] for x in pairs]
        return float(np.abs(np.subtract(*found)).mean())

    before = far(fit(images, replace(recipe, iterations=1)))
    assert far(fit(images, recipe)) < 0.6 * before


def test_a_model_of_another_kind_makes_no_images():
    with pytest.raises(ValueError, match="makes no images"):
        training.synthesise(torch.nn.Identity(), 1)
