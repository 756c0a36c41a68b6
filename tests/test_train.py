"""Training: SR-03, SR-13, SR-16, SR-17, SR-19, SR-22, SR-23, ME-12, GAP-07; kill and continue."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.spatial import cKDTree

from srlib import cli, data, datasets, losses, metrics, models, training
from srlib.inference import superres
from srlib.training import PROFILES, Recipe, SuperResTrainer, fit_superres, gan, laptop_changes
from srlib.training.recipe import build

ROOT = Path(__file__).parents[1]
TINY = dict(iterations=6, check_every=3, width=4, slices=2, batch=1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def anode() -> data.Case:
    return datasets.load("case3", "twin", seed=1, edge=64)


@pytest.fixture(scope="module")
def cathode() -> data.Case:
    return datasets.load("case1", "twin", seed=1, edge=64)


def anisotropic(case: data.Case) -> data.Case:
    """Each axis has its own image: mostly phase k for axis k."""
    images = []
    for phase in range(3):
        image = np.full((80, 70), phase, np.uint8)
        image[::9, ::7] = (phase + 1) % 3
        images.append(image)
    return replace(case, hr=images, normals=[0, 1, 2], augment=(False, False, True))


def test_a_training_and_no_other_takes_tiny_numbers_for_zero():
    tiny, seen = torch.full((4,), 1e-40), []

    def loss(network: torch.nn.Module, rng: torch.Generator) -> torch.Tensor:
        seen.append(bool((2 * tiny == 0).all()))
        return network(torch.ones(1, 1)).square().mean()

    assert (2 * tiny > 0).all()
    training.fit_supervised(torch.nn.Linear(1, 1), loss, 2, 0, "cpu", progress=False)
    assert seen == [True, True]
    assert (2 * tiny > 0).all()
    many = np.zeros((200, 3))
    many[150:, 0] = np.arange(50)
    many[:, 1] = np.linspace(0, 1, 200)
    assert cKDTree(many).query(many)[0].max() == 0, "it splits zero from the next larger number"


def trainer(case: data.Case, seed: int = 0, **changes) -> SuperResTrainer:
    return SuperResTrainer(case, replace(PROFILES["smoke"], **{**TINY, **changes}), seed, CPU)


def fit(case: data.Case, seed: int = 0, **changes) -> torch.nn.Module:
    return fit_superres(case, "smoke", seed, "cpu", progress=False, **{**TINY, **changes})


@pytest.mark.parametrize("scale_factor", [1.5, 2.5, 3, 7, 10])
def test_a_training_takes_any_scale_factor(anode, scale_factor):
    """The window of a profile becomes a whole number of coarse voxels."""
    case = replace(anode, scale_factor=scale_factor, mode="blur")
    case.lr = np.tile(case.lr, (3, 3, 3))[:42, :40, :40]
    few = dict(iterations=1, check_every=1, width=4, validation_size=12, progress=False)
    model = fit_superres(case, "smoke", 0, "cpu", **few)
    window = model.meta["recipe"]["window"]
    assert window / scale_factor == round(window / scale_factor) and abs(window - 32) < 4
    made = superres.superres(model, case.lr[:22, :14, :8])
    assert made.shape == tuple(round(scale_factor * n) for n in (20, 12, 6))
    assert model.meta["history"][0]["volume_fractions"]


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# One iteration


@pytest.mark.parametrize("noise", [0, 1, 3])
def test_sr03_the_generator_gets_phases_and_noise(anode, cathode, noise):
    for case, m in ((anode, 3), (cathode, 2)):
        t, seen = trainer(case, noise_channels=noise, batch=2), []
        t.generator.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        t.step()
        edge = 32 // 4 + 2 * t.recipe.halo
        assert seen[0].shape == (2, m + noise, edge, edge, edge)
        phases, z = seen[0][:, :m], seen[0][:, m:]
        assert torch.equal(phases.sum(1), torch.ones_like(phases[:, 0]))
        assert set(phases.unique().tolist()) == {0, 1}
        if noise:
            assert z.mean().item() == pytest.approx(0, abs=0.1)
            assert z.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("fine_noise", [False, True])
def test_a_window_with_all_of_the_halo_is_what_inference_makes(fine_noise, norm):
    halo, case = models.SuperResLite(3, 3, 4, width=4).halo, datasets.load("case3", "twin", edge=96)
    t = trainer(case, halo=halo, window=16, crop=0, fine_noise=fine_noise, norm=norm)
    t.generator.train(norm)  # with statistics of the window, which zeros beyond it would change
    _, x, (keep, z, part) = t.inputs(torch.Generator().manual_seed(0))
    assert (z is not None) == fine_noise
    seen = []
    for net in t.generator.norms:
        net.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
    window = t.generator(x, keep, z, part)
    assert seen == [4 + 2 * 3, 8 + 2 * 2]  # what reaches 4 coarse voxels, without a ring of zeros
    assert window.shape[2:] == (16,) * 3
    if not norm:
        rim, inner = 4 * keep[0].start, (slice(4 * halo, -4 * halo),) * 3
        around = torch.nn.functional.pad(z, (rim,) * 6, value=9.0) if fine_noise else None
        whole = t.generator(x, None, around)[(..., *inner)]
        assert torch.allclose(window, whole, atol=1e-6)
        z = z[(..., *[slice(12, -12)] * 3)] if fine_noise else None
        assert not torch.allclose(t.generator(x, part, z), whole, atol=1e-4)


def test_sr20_windows_and_noise_follow_seed_and_iteration(anode):
    def drawn(seed: int, iteration: int) -> torch.Tensor:
        t, seen = trainer(anode, seed), []
        t.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        t.iteration = iteration
        t.step()
        return seen[0]

    first = drawn(0, 3)
    assert torch.equal(first, drawn(0, 3))
    for other in (drawn(1, 3), drawn(0, 4)):
        assert not torch.equal(first[:, :3], other[:, :3])
        assert not torch.equal(first[:, 3:], other[:, 3:])


def test_sr13_168_slices_of_56(anode, monkeypatch):
    volume = torch.rand(2, 3, 56, 56, 56)
    slices = torch.cat([data.slice_volume(volume[:1], axis) for axis in range(3)])
    assert slices.shape == (168, 3, 56, 56)
    for index in (0, 5, 55):
        assert torch.equal(slices[index], volume[0, :, index])
        assert torch.equal(slices[56 + index], volume[0, :, :, index])
        assert torch.equal(slices[112 + index], volume[0, :, :, :, index])
    picked = data.slice_volume(volume, 1, torch.tensor([7, 3]))
    assert picked.shape == (4, 3, 56, 56)
    assert torch.equal(picked[2], volume[1, :, :, 7])

    asked = []

    def squares(images, edge, n, rng, draw=data.sample_squares):
        asked.append((edge, n))
        return draw(images, edge, n, rng)

    monkeypatch.setattr(gan, "sample_squares", squares)
    paper = PROFILES["full"]
    t = SuperResTrainer(anode, replace(paper, network="laptop", batch=1, width=4), 0, CPU)
    assert (paper.window, paper.crop, paper.slices, paper.batch) == (64, 4, None, 8)
    t.iteration = 1
    t.step()
    assert asked == [(56, 168)]


@pytest.mark.parametrize(("every", "critic_steps"), [(1, 1), (5, 1), (3, 2)])
def test_sr16_gap07_generator_every_kth_and_critic_every_time(
    anode, monkeypatch, every, critic_steps
):
    t, steps = trainer(anode, generator_every=every, critic_steps=critic_steps), []
    update = t.update

    def spy(optimiser, loss):
        steps.append((t.iteration, t.optimisers.index(optimiser)))
        update(optimiser, loss)

    monkeypatch.setattr(t, "update", spy)
    for _ in range(7):
        t.step()
    assert [i for i, k in steps if k == 0] == [i for i in range(7) if i % every == 0]
    assert [i for i, k in steps if k == 1] == [i for i in range(7) for _ in range(critic_steps)]


def test_sr19_critic_k_is_fed_slices_with_normal_k(anode, monkeypatch):
    """The fake volume changes along z only; the real images of axis k are mostly phase k."""
    t = trainer(anisotropic(anode), generator_every=2, slices=None)
    layers = torch.arange(32) % 3
    volume = torch.eye(3)[layers].T.view(1, 3, 32, 1, 1).expand(1, 3, 32, 32, 32)
    monkeypatch.setattr(t, "generator", lambda *_: volume)
    seen = []

    def spy(critic, real, fake, *rest, penalty=losses.gradient_penalty):
        seen.append((t.critics.index(critic), real, fake))
        return penalty(critic, real, fake, *rest)

    monkeypatch.setattr(losses, "gradient_penalty", spy)
    t.iteration = 1
    t.step()
    assert [k for k, *_ in seen] == [0, 0, 1, 1, 2, 2]
    for k, real, fake in seen:
        assert real.mean((0, 2, 3)).argmax() == k
        assert real.shape == fake.shape == (24, 3, 24, 24)
        flat = (fake == fake[:, :, :1, :1]).all((1, 2, 3))
        assert flat.all() == (k == 0) and flat.any() == (k == 0)
        if k:
            assert torch.equal(fake[3].argmax(0)[:, 0], layers[4:28])


def test_sr19_the_generator_is_scored_by_critic_k_on_slices_with_normal_k(anode, monkeypatch):
    """The volume changes along z only: critic 0 sees flat slices, the others layers."""
    t = trainer(anisotropic(anode), slices=None, interface_isotropy_weight=0.0)
    layers = (torch.arange(32) // 8) % 3
    volume = 9 * torch.eye(3)[layers].T.view(1, 3, 32, 1, 1).expand(1, 3, 32, 32, 32)
    bias = next(t.generator.parameters()).sum() * 0
    monkeypatch.setattr(t, "generator", lambda *_: volume.softmax(1) + bias)
    monkeypatch.setattr(t, "update", lambda *_: None)
    monkeypatch.setattr(t.ema, "update_parameters", lambda *_: None)
    seen = []
    for k, critic in enumerate(t.critics):
        critic.register_forward_hook(lambda _, x, __, k=k: seen.append((k, x[0])))
    t.step()
    scored = seen[-3:]  # line 10; before them the critics' own steps
    assert [k for k, _ in scored] == [0, 1, 2]
    for k, x in scored:
        flat = (x == x[:, :, :1, :1]).all((1, 2, 3))
        assert len(x) == 24 and flat.all() == (k == 0)


def test_sr18_an_isotropic_case_has_one_critic(anode):
    assert len(trainer(anode).critics) == 1
    assert len(trainer(anisotropic(anode)).critics) == 3


def test_networks_of_the_two_recipes(anode, cathode):
    generator, critics = build(cathode, PROFILES["full"])
    assert isinstance(generator, models.SuperRes) and generator.n_lr == 2
    assert isinstance(critics[0], models.SuperResCritic)
    generator, critics = build(cathode, PROFILES["smoke"])
    assert generator.grid_alignment == "centre" and generator.n_phases == 3
    assert build(anode, PROFILES["smoke"])[0].grid_alignment == "corner"


def test_gap17_the_paper_profile_is_that_of_the_public_code():
    paper = PROFILES["full"]
    assert paper.lr_generator == paper.lr_critic == 1e-4 and paper.betas == (0.5, 0.999)
    assert (
        paper.gradient_penalty_weight,
        paper.consistency_weight,
        paper.consistency_threshold,
    ) == (10, 10, 0.005)
    assert (paper.generator_every, paper.critic_steps, paper.batch) == (5, 1, 8)
    assert (paper.iterations, paper.stop_below, paper.ema_decay) == (156_000, 0.015, 0)
    assert (
        not paper.decay
        and not paper.warmup
        and not paper.interface_isotropy_weight
        and not paper.halo
    )


def test_learning_rate_rises_stays_and_falls():
    recipe = replace(PROFILES["laptop"], iterations=100, warmup=10)
    rates = [recipe.rate(iteration) for iteration in (0, 4, 9, 30, 50, 75, 99)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 1, 0.5, 0.02])
    assert replace(recipe, warmup=0, decay=False).rate(99) == 1


def test_ema_averages_the_weights(anode):
    t = trainer(anode, ema_decay=0.75)
    found = []
    for _ in range(3):
        t.step()
        found.append(weights(t.generator))
    for k, v in t.model.state_dict().items():
        expected = 0.75 * (0.75 * found[0][k] + 0.25 * found[1][k]) + 0.25 * found[2][k]
        assert torch.allclose(v, expected, atol=1e-7), k
    t = trainer(anode, ema_decay=0.0)
    t.step()
    t.step()
    assert same(weights(t.model), weights(t.generator))


# A whole training


def test_sr22_a_seed_decides_everything(anode):
    torch.manual_seed(11)
    first = fit(anode, seed=3)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    again = fit(anode, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(fit(anode, seed=4)))


def test_me12_history_holds_gap_scores_and_errors(anode):
    calls = []
    model = fit(anode, callback=lambda history: calls.append(len(history)))
    history = model.meta["history"]
    assert [h["iteration"] for h in history] == [3, 6] and calls == [1, 2]
    for h in history:
        assert len(h["scores"]) == 3 and np.isfinite([h["gap"], h["penalty"], *h["scores"]]).all()
        assert len(set(h["scores"])) == 3
        assert sum(h["volume_fractions"]) == pytest.approx(1)
        assert list(h["interphase_areas"]) == ["0-1", "0-2", "1-2"]
        assert h["score"] == pytest.approx(sum(h[k] / v for k, v in training.LIMITS.items()))
        assert h["over"] == sum(h[k] > v for k, v in training.LIMITS.items())
    assert model.meta["best_iteration"] == 6
    assert json.loads(json.dumps(model.meta))["recipe"]["width"] == 4
    assert not model.training


@pytest.mark.parametrize("better", [0, 1])
@pytest.mark.parametrize("over", [(0, 0), (1, 0), (0, 1)])
def test_the_best_of_the_checked_models_is_returned(anode, monkeypatch, better, over):
    """Fewest errors over their limit first, then the smallest sum."""
    checked, scores = [], [2.0, 1.0] if better else [1.0, 2.0]
    better = better if over[0] == over[1] else int(over[1] < over[0])
    check, quality = SuperResTrainer.check, training.quality

    def judged(*given):
        return {**quality(*given), "score": scores[len(checked)], "over": over[len(checked)]}

    def watched(self):
        found = check(self)
        checked.append(weights(self.model))
        return found

    monkeypatch.setattr(gan, "quality", judged)
    monkeypatch.setattr(SuperResTrainer, "check", watched)
    model = fit(anode, check_every=5)
    assert not same(*checked)
    assert same(weights(model), checked[better])
    assert model.meta["best_iteration"] == (6 if better else 5)


def test_weights_of_the_first_four_fifths_are_not_kept(anode, monkeypatch):
    """They were lucky: at the full learning rate the next hundred iterations undo them."""
    iterations = iter((2, 4, 6))
    monkeypatch.setattr(
        gan, "quality", lambda *_: {"over": 0, "stop": 9.0, "score": next(iterations)}
    )
    assert fit(anode, check_every=2).meta["best_iteration"] == 6


def test_me12_sr15_the_critic_learns_to_score_real_images_higher(anode):
    """Of a frozen generator; the logged gap is that of the critic itself."""
    t = trainer(anode, lr_generator=0.0, lr_critic=5e-3, iterations=60, warmup=0)
    gaps = [t.step()["gap"] for _ in range(60)]
    assert np.mean(gaps[-5:]) > max(0.1, 3 * abs(gaps[0]))
    real = data.one_hot(anode.hr[0][:24, :24], 3)[None]
    flat = torch.eye(3)[0].view(1, 3, 1, 1).expand(1, 3, 24, 24)
    critic = t.critics[0].float()
    assert critic(real).item() > critic(flat).item()


def test_sr15_the_critic_is_updated_with_gap_and_penalty(anode, monkeypatch):
    t, totals, terms = trainer(anode, critic_steps=1), [], []
    update, penalty, gap = t.update, losses.gradient_penalty, losses.critic_loss
    monkeypatch.setattr(
        losses, "gradient_penalty", lambda *a: terms.append(penalty(*a)) or terms[-1]
    )
    monkeypatch.setattr(losses, "critic_loss", lambda *a: terms.append(gap(*a)) or terms[-1])
    monkeypatch.setattr(t, "update", lambda o, loss: totals.append(loss.item()) or update(o, loss))
    log = t.step()
    assert totals[0] == pytest.approx(sum(x.item() for x in terms))
    assert log["penalty"] > 0 and log["style"] == pytest.approx(-np.mean(log["scores"]))
    assert log["content"] == t.recipe.consistency_weight * log["voxelwise"] * (
        log["voxelwise"] >= 0.005
    )


def test_sr18_the_critic_sees_the_eight_symmetries(anode):
    assert len(trainer(anode).images[0]) == 8 * len(anode.hr)


def test_phases_that_never_touch_do_not_hide_the_best_model(anode):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[16:32] = stripes[48:] = 1
    stripes[32:48] = 2  # 0 | 1 | 2 | 1: no face between 0 and 2
    model = fit(replace(anode, hr=[stripes]))
    assert all(np.isfinite(h["score"]) for h in model.meta["history"])


def test_sr23_training_stops_when_fractions_and_areas_are_good_enough(anode, monkeypatch):
    found = dict.fromkeys(training.LIMITS, 9.0) | {"score": 9.0, "over": 6, "stop": 0.01}
    monkeypatch.setattr(gan, "quality", lambda *_: dict(found))
    assert [h["iteration"] for h in fit(anode, stop_below=0.015).meta["history"]] == [3]
    assert [h["iteration"] for h in fit(anode, stop_below=0.005).meta["history"]] == [3, 6]


def test_training_stops_when_its_time_is_up(anode):
    model = fit(anode, iterations=100_000, check_every=100_000, seconds=0.5)
    assert 0.5 <= model.meta["seconds"] < 60
    (last,) = model.meta["history"]
    assert 1 <= last["iteration"] < 10_000


def test_quality_of_the_truth_is_better_than_of_interpolation(anode):
    reference = metrics.reference_statistics(anode.hr)
    s = 4
    nearest = np.kron(anode.lr, np.ones((s, s, s), np.uint8))
    truth, rough = (training.quality(v, anode.lr, anode, reference) for v in (anode.truth, nearest))
    assert truth["lost"] == rough["lost"] == 0
    assert truth["score"] < 0.5 * rough["score"]
    assert truth["imprint"] < 0.1 < rough["imprint"]
    wrong = np.roll(anode.truth, 2, 0)
    assert training.quality(wrong, anode.lr, anode, reference)["lost"] > 0.1


def test_quality_judges_by_the_fractions_of_the_case(anode):
    found = np.bincount(anode.truth.ravel()) / anode.truth.size
    wanted = replace(anode, fractions=found)
    reference = metrics.reference_statistics(anode.hr)
    by_image, by_case = (training.quality(c.truth, c.lr, c, reference) for c in (anode, wanted))
    assert by_case["fractions"] < 1e-12 < 0.001 < by_image["fractions"]
    assert {k for k in by_case if by_case[k] != by_image[k]} <= {"fractions", "score", "over"}


def test_the_voxelwise_loss_falls(anode):
    settings = dict(
        skip=False,
        consistency_weight=100.0,
        interface_isotropy_weight=0.0,
        ema_decay=0.0,
        warmup=5,
        lr_generator=4e-3,
        width=8,
    )
    history = fit(anode, iterations=45, check_every=15, **settings).meta["history"]
    found = [h["voxelwise"] for h in history]
    assert found[-1] < 0.5 * found[0]
    assert history[-1]["lost"] < history[0]["lost"] - 0.1


def test_balance_holds_the_fractions_that_are_wanted(cathode):
    settings = dict(
        ema_decay=0.0,
        interface_isotropy_weight=0.0,
        warmup=5,
        width=8,
        iterations=80,
        check_every=10,
    )
    wanted = np.array([0.25, 0.42, 0.33])  # the image has 0.46, 0.42, 0.11
    case = replace(cathode, fractions=wanted)
    off = []
    for balance in (0.0, 1000.0):
        history = fit(case, volume_fraction_weight=balance, **settings).meta["history"]
        shares = np.mean([h["volume_fractions"] for h in history], 0)  # of many checks: they swing
        off.append(np.abs(shares / wanted - 1).mean())
    assert off[1] < 0.5 * off[0], off


def test_sr29_without_the_voxelwise_loss_the_measurement_is_lost(anode):
    settings = dict(
        ema_decay=0.0, interface_isotropy_weight=0.0, warmup=5, lr_generator=4e-3, width=8
    )
    settings |= dict(iterations=40, check_every=40)
    lost = [
        fit(anode, consistency_weight=w, **settings).meta["history"][-1]["lost"]
        for w in (100.0, 0.0)
    ]
    assert lost[0] < 0.05 and lost[1] > 0.2


def test_sr19_three_critics_train(anode):
    model = fit(anisotropic(anode))
    (first, last) = model.meta["history"]
    assert last["anisotropy"] == 0 and len(last["scores"]) == 3


def test_sr27_sr33_other_cases_train(anode, cathode):
    assert fit(cathode, noise_channels=0, generator_every=5).n_lr == 2
    two = replace(
        anode,
        hr=[np.minimum(anode.hr[0], 1)],
        lr=np.minimum(anode.lr, 1),
        phases=["a", "b"],
        lr_phases=["a", "b"],
        phase_map=None,
    )
    assert fit(two, skip=False).n_phases == 2


def test_the_paper_network_trains(anode):
    recipe = dict(
        network="paper", window=64, halo=0, validation_size=4, iterations=1, check_every=1
    )
    model = fit(anode, **recipe, ema_decay=0.0, critic_steps=1)
    assert isinstance(model, models.SuperRes)
    assert model.block[0][1].num_batches_tracked == 1


# Killed and continued


CHILD = """
import sys
import torch
from scipy.spatial import cKDTree
from srlib import datasets, models, training

torch.set_num_threads(1)
case = datasets.load("case3", "twin", seed=1, edge=64)
model = training.fit_superres(
    case, "smoke", 5, "cpu", out=sys.argv[1], progress=False,
    callback=lambda history: print(len(history), flush=True),
    iterations=24, check_every=2, width=4, slices=2, critic_steps=1, ema_decay=0.5,
)
models.save(model, sys.argv[2], {"iterations": [h["iteration"] for h in model.meta["history"]]})
"""


def child(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, folder, folder / "end.safetensors"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_training_ends_like_an_uninterrupted_one(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    checks, moment = random.randint(1, 9), random.uniform(0, 0.2)
    reference, victim = child(whole), child(killed)
    try:
        assert all(victim.stdout.readline() for _ in range(checks))
        time.sleep(moment)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    assert not (killed / "end.safetensors").exists(), "it was over before it was killed"
    again = child(killed)
    checked = again.communicate()[0].split()
    assert reference.communicate()[0].split() == [str(i) for i in range(1, 13)]
    assert int(checked[0]) > checks and checked[-1] == "12"
    first, second = (models.load(f / "end.safetensors") for f in (whole, killed))
    assert same(weights(first), weights(second)), f"killed {moment:.3f} s after check {checks}"
    assert first.meta["iterations"] == second.meta["iterations"] == list(range(2, 25, 2))


def test_matched_squares_have_the_coarse_phases_of_the_fake_slices(cathode):
    """The critic must not tell real from fake by what the coarse volume fixes, only by the rest."""
    gaps, binder = {}, {}
    for match in (0, 8):
        run = trainer(cathode, real_candidates=match)
        squares = data.sample_squares(run.images[0], 24, 60, torch.Generator().manual_seed(1))
        poor = squares[np.argsort((squares == 1).mean((1, 2)))[:30]]  # little active material
        fake = data.one_hot(np.where(poor == 2, 0, poor), 3).movedim(0, 1)  # and no binder
        real = run.squares(fake, 0, torch.Generator().manual_seed(2))
        assert real.shape == fake.shape
        gaps[match] = (real[:, 1].mean() - fake[:, 1].mean()).abs().item()
        binder[match] = (real[:, 2].mean() / (1 - real[:, 1].mean())).item()
        assert len({row.numpy().tobytes() for row in real}) == len(fake), "no square twice"
    assert gaps[8] < 0.05 < gaps[0]
    assert binder[8] > 0.7 * binder[0], "the share of the hidden phase stays the image's"


def test_averaged_weights_get_statistics_of_their_own(cathode):
    """Batch normalisation of the model that is kept must fit its weights, not those before."""
    run = trainer(cathode, norm=True)
    for _ in range(3):
        run.step()
    seen = []
    norm = run.model.norms[0]
    norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].float()))
    run.recalibrate_batchnorm(run.model)
    assert len(seen) >= 16
    exact = torch.stack([h.mean((0, 2, 3, 4)) for h in seen]).mean(0)
    assert torch.allclose(norm.running_mean, exact, atol=1e-3)
    exact = torch.stack([h.var((0, 2, 3, 4)) for h in seen]).mean(0)
    assert torch.allclose(norm.running_var, exact, rtol=0.01)


def test_statistics_are_fixed_in_the_second_half(cathode):
    run, seen = trainer(cathode, norm=True), []
    for _ in range(6):
        run.step()
        before = run.model.norms[0].running_mean.clone()
        run.check()
        mean = run.generator.norms[0].running_mean.clone()
        seen.append((mean, not torch.equal(before, run.model.norms[0].running_mean)))
        assert run.generator.training == (run.iteration <= 3)
    means, measured = zip(*seen, strict=True)
    assert [torch.equal(mean, means[-1]) for mean in means] == [False] * 3 + [True] * 3
    assert measured == (True,) * 3 + (False,) * 3, "averaged weights: before the half only"
    assert torch.equal(run.model.norms[0].running_mean, means[-1])


def test_with_renormalisation_running_statistics_take_over_by_and_by(cathode):
    run, shares, measured = trainer(cathode, norm=True, renorm=True, iterations=20), [], []
    for _ in range(20):
        run.step()
        shares.append(run.generator.norms[0].share)
        if run.iteration % 5 == 0:
            before = run.model.norms[0].running_mean.clone()
            run.check()
            measured.append(not torch.equal(before, run.model.norms[0].running_mean))
    assert np.allclose(shares[:5], 0) and np.allclose(shares[10:], 1)
    assert np.allclose(np.diff(shares[4:11]), 1 / 6)
    assert run.generator.training and not run.model.norms[0].share
    assert measured == [True] * 4, "averaged weights get statistics of their own at every check"


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_resumed_training_ends_with_every_weight_the_same(cathode, tmp_path, stop, renorm):
    """Before, at and after the half, where the statistics of batch normalisation are fixed."""

    def state(run: SuperResTrainer) -> dict:
        nets = (run.generator, run.ema, *run.critics)
        return {f"{i} {k}": v for i, net in enumerate(nets) for k, v in weights(net).items()}

    def go_on(run: SuperResTrainer) -> None:
        while run.iteration < 6:
            run.step()
            if run.iteration == stop:
                run.check()
                run.save(tmp_path / "checkpoint")

    whole, rest = (
        trainer(cathode, norm=True, renorm=renorm, volume_fraction_weight=1000.0, real_candidates=2)
        for _ in range(2)
    )
    go_on(whole)
    rest.resume(tmp_path / "checkpoint")
    assert rest.iteration == stop and not same(state(whole), state(rest))
    go_on(rest)
    assert same(state(whole), state(rest)) and whole.best["rank"] == rest.best["rank"]


def test_a_training_continues_from_its_checkpoint(anode, tmp_path):
    """Half the iterations, then all of them, with the rest of the state restored."""

    class Stop(Exception):
        pass

    def stop(history):
        raise Stop

    whole = fit(anode)
    with pytest.raises(Stop):
        fit(anode, out=tmp_path, callback=stop)
    calls = []
    rest = fit(anode, out=tmp_path, callback=lambda h: calls.append(len(h)))
    assert calls == [2]
    assert rest.meta["best_iteration"] == 6, "of the second part"
    assert same(weights(whole), weights(rest))
    assert same(weights(whole), weights(fit(anode, out=tmp_path)))


@pytest.mark.parametrize("change", ["recipe", "data", "mode"])
def test_a_checkpoint_of_another_training_is_refused(anode, tmp_path, change):
    fit(anode, out=tmp_path, iterations=1)
    other = {
        "recipe": (anode, dict(iterations=1, consistency_threshold=0.1)),
        "data": (replace(anode, lr=anode.lr[::-1].copy()), dict(iterations=1)),
        "mode": (replace(anode, mode="blur"), dict(iterations=1)),
    }
    case, changes = other[change]
    with pytest.raises(ValueError, match="choose another folder"):
        fit(case, out=tmp_path, **changes)


# Settings

WRONG = {
    "iterations": (0, "iterations must be a whole number, 1 or more"),
    "check_every": (0, "1 or more"),
    "generator_every": (2.5, "1 or more"),
    "batch": ("two", "1 or more"),
    "noise_channels": (-1, "0 or more"),
    "crop": ("four", "0 or more"),
    "slices": (0, "None for all"),
    "network": ("transformer", "'laptop' or 'paper'"),
    "window": (12, "use a larger one"),
    "lr_critic": ("fast", "a number, 0 or more"),
    "interface_isotropy_weight": (float("nan"), "a number, 0 or more"),
    "volume_fraction_weight": (-1, "a number, 0 or more"),
    "betas": (0.5, "two numbers"),
    "validation_size": (3, "4 coarse voxels or more"),
    "real_candidates": (-1, "0 or more"),
    "learning_rate": (1, "a recipe has no learning_rate"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_recipe_says_what_is_wrong(anode, name):
    value, hint = WRONG[name]
    with pytest.raises(ValueError, match=hint):
        fit(anode, **{name: value})


def test_a_recipe_that_does_not_fit_is_refused(anode):
    with pytest.raises(ValueError, match="the paper's always has it"):
        fit(anode, network="paper", window=64, halo=0, norm=True)
    with pytest.raises(ValueError, match="use norm=True"):
        fit(anode, renorm=True)
    alone = datasets.load("slicegan", "twin", edge=64)
    with pytest.raises(ValueError, match="use real_candidates=0"):
        fit(alone, real_candidates=8, noise_channels=4)


def test_a_fractional_scale_factor_is_refused_before_training(anode):
    with pytest.raises(ValueError, match="whole scale factor"):
        fit(replace(anode, scale_factor=1.6), network="paper", window=64, halo=0)


# Command line


def test_the_command_writes_weights_and_their_side_car(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", partial(datasets.load, edge=64))
    monkeypatch.setitem(PROFILES, "smoke", replace(PROFILES["smoke"], **TINY))
    arguments = [
        "case3",
        "--profile",
        "smoke",
        "--source",
        "twin",
        "--seed",
        "2",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(cli.main, ["train", *arguments, "--out", str(tmp_path)])
    path = tmp_path / "case3-twin-2.safetensors"
    assert done.exit_code == 0 and str(path) in done.stdout
    side = json.loads(path.with_suffix(".json").read_text())
    model = models.load(path)
    assert {f.name for f in fields(Recipe)} == set(side["recipe"])
    for key in ("seed", "data_sha256", "seconds", "device", "history", "voxel_nm", "source"):
        assert side[key] == model.meta[key]
    assert side["seed"] == 2 and side["config"]["n_phases"] == 3


def test_the_command_fails_in_one_sentence():
    command = [sys.executable, "-m", "srlib.cli", "train", "case99", "--profile", "smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: there is no case 'case99'")
    assert len(done.stderr.splitlines()) == 1


def test_at_scale_factor_8_the_laptop_profile_anchors_harder(anode):
    eight = datasets.load("case3x8", "twin", seed=1, edge=128)
    given = {**TINY, "iterations": 1, "progress": False}
    recipe = fit_superres(eight, "laptop", 0, "cpu", **given).meta["recipe"]
    assert (recipe["consistency_weight"], recipe["interface_isotropy_weight"]) == (100, 50)
    assert (
        fit_superres(eight, "laptop", 0, "cpu", consistency_weight=7.0, **given).meta["recipe"][
            "consistency_weight"
        ]
        == 7
    )
    assert (
        fit_superres(anode, "laptop", 0, "cpu", **given).meta["recipe"]["consistency_weight"] == 30
    )
    alone = datasets.load("slicegan", "twin", edge=64)
    recipe = fit_superres(alone, "laptop", 0, "cpu", **given).meta["recipe"]
    assert (recipe["consistency_weight"], recipe["noise_channels"]) == (30, 8)


HELD = {  # norm, balance, match, temperature, critic steps
    "case1": (True, 1000, 8, 10, 2),
    "case2": (True, 1000, 0, 10, 2),
    "case3": (False, 0, 0, 100, 2),
    "case3x8": (False, 0, 0, 100, 2),
    "case4": (True, 0, 8, 5, 5),
    "slicegan": (True, 1000, 0, 100, 3),
    "slicegan_separator": (True, 1000, 0, 100, 3),
}


@pytest.mark.parametrize("name", HELD)
def test_the_laptop_profile_holds_what_the_coarse_volume_does_not(name):
    case = datasets.load(name, "twin", edge=128)
    recipe = replace(PROFILES["laptop"], **laptop_changes(case))
    found = (
        recipe.norm,
        recipe.volume_fraction_weight,
        recipe.real_candidates,
        recipe.inverse_temperature,
        recipe.critic_steps,
    )
    assert found == HELD[name]
    if case.lr is None:
        assert recipe.halo == build(case, recipe)[0].halo and not recipe.crop


def test_slicegan_of_a_separator_has_a_critic_for_each_direction():
    case = datasets.load("slicegan_separator", "twin", edge=64)
    assert case.lr is None and case.normals == [0, 0, 1, 1, 2, 2]
    assert len(fit(case, window=32, validation_size=8).meta["history"]) > 0
    assert [image.shape for image in case.hr] == [(64, 64)] * 2 + [(128, 64)] * 4


def test_slicegan_a_case_without_a_coarse_volume_makes_volumes_from_noise_alone():
    case = datasets.load("slicegan", "twin", seed=1, edge=64)
    assert case.lr is None and case.phase_map.shape == (3, 0)
    model = fit(case, window=32, validation_size=8, noise_channels=4)
    assert all(h["voxelwise"] == 0 and h["lost"] == 0 for h in model.meta["history"])
    volume = superres.generate(model, (40, 48, 56), seed=3, periodic=True)
    assert volume.shape == (40, 48, 56)
    assert np.array_equal(superres.generate(model, (40, 48, 56), 3, periodic=True, tile=2), volume)
    assert not np.array_equal(superres.generate(model, (40, 48, 56), 4, periodic=True), volume)
    longer = superres.generate(model, (80, 48, 56), 3)
    assert np.array_equal(superres.generate(model, (40, 48, 56), 3), longer[:40])
    with pytest.raises(ValueError, match="multiples of 8"):
        superres.generate(model, (41, 48, 56), periodic=True)
    with pytest.raises(ValueError, match="needs a coarse volume"):
        superres.generate(models.SuperResLite(2, 2, 4, width=4), (8, 8, 8))
    with pytest.raises(ValueError, match="there must be noise"):
        models.SuperResLite(0, 3, 8, noise_channels=0)
    with pytest.raises(ValueError, match="there is no coarse volume"):
        replace(case, lr_phases=["pore"])


@pytest.mark.parametrize("hard", [True, False])
def test_a_hard_critic_sees_phases_and_the_generator_still_learns(anode, monkeypatch, hard):
    t, fakes = trainer(anode, straight_through=hard, fine_noise=True), []
    penalty = losses.gradient_penalty

    def spy(critic, real, fake, *rest):
        fakes.append(fake.detach())
        return penalty(critic, real, fake, *rest)

    monkeypatch.setattr(losses, "gradient_penalty", spy)
    before = weights(t.generator)
    t.step()
    whole = all((f - f.round()).abs().max() < 1e-5 for f in fakes)
    assert fakes and whole == hard
    assert not any(torch.equal(before[k], v) for k, v in t.generator.state_dict().items())
    assert t.generator.fine_noise


def test_generators_are_loaded_or_the_first_are_trained(monkeypatch):
    case = datasets.load("case3", "twin", edge=64)
    asked = []
    monkeypatch.setattr(gan.models, "load", lambda name: f"loaded {name}")
    monkeypatch.setattr(gan, "fit_superres", lambda *how: asked.append(how) or "trained")
    found = training.load_or_fit(case, [2, 0], "smoke")
    assert found == {2: "loaded case3-twin-2", 0: "loaded case3-twin-0"} and not asked
    found = training.load_or_fit(case, [2, 0], "smoke", anew=True, device="cpu")
    assert found == {2: "trained", 0: "loaded case3-twin-0"}
    assert asked == [(case, "smoke", 2, "cpu")]


def test_a_training_in_words():
    meta = models.load("case3-twin-0").meta
    said = training.in_words(meta)
    assert said.startswith(f"laptop recipe, {meta['recipe']['iterations']} iterations in ")
    assert said.endswith(f"thread(s); kept: iteration {meta['best_iteration']}")
