"""Algorithm 1 of SuperRes: one generator, one critic or three, one iteration at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srlib import losses, metrics, models
from srlib.data.case import Case
from srlib.data.sampling import most_mixed, one_hot, sample_cubes, sample_squares, slice_volume
from srlib.inference import memory
from srlib.inference.superres import generate, superres
from srlib.physics.downsampling import exact_scale
from srlib.precision import autocast
from srlib.training.distributed import (
    all_reduce_mean,
    broadcast_module,
    choose_device,
)
from srlib.training.loop import Trainer, straight_through
from srlib.training.recipe import PROFILES, Recipe, build, fitting_window, laptop_changes
from srlib.training.terms import Batch, Consistency, build_terms
from srlib.training.validation import quality

MOMENTUM = 0.02  # of the running statistics of batch renormalisation
LATE = 0.8  # share of the iterations after which weights have come to rest and may be kept
LOST = 0.25  # share of what a phase should be; a volume with less is kept only if there is no other


class SuperResTrainer(Trainer):
    """Algorithm 1 of SuperRes, for one case: a generator, and one critic or three.

    Beside the losses of the paper it takes the terms of :mod:`srlib.training.terms`.
    """

    kept = (*Trainer.kept, "best", "best_weights")

    def __init__(self, case: Case, recipe: Recipe, seed: int, device: torch.device) -> None:
        _check_recipe(case, recipe)
        super().__init__(seed, device)
        self.case, self.recipe = case, recipe
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.generator, self.critics = build(case, recipe)
        self.generator.to(device, memory_format=torch.channels_last_3d)
        for net in (self.generator, *self.critics):
            net.to(device)
            broadcast_module(net)
        decay = get_ema_multi_avg_fn(recipe.ema_decay)
        # Statistics of batch normalisation are not averaged but measured anew.
        self.ema = AveragedModel(self.generator, multi_avg_fn=decay, use_buffers=not recipe.norm)
        self.rates = [recipe.lr_generator] + [recipe.lr_critic] * len(self.critics)
        self.optimisers = [
            torch.optim.Adam(net.parameters(), lr, betas=recipe.betas)
            for net, lr in zip((self.generator, *self.critics), self.rates, strict=True)
        ]
        self.images = [case.images(axis) for axis in range(3)]
        self.phase_map = torch.from_numpy(case.phase_map).to(device)
        self.consistency = Consistency(case, recipe, self.phase_map)
        target = torch.from_numpy(case.target_fractions()).float().to(device)
        self.terms = build_terms(case, recipe, target)
        self.axes = [(0, 1, 2)] if len(self.critics) == 1 else [(0,), (1,), (2,)]
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.half = -(-recipe.iterations // 2)

    @cached_property
    def reference(self) -> dict:
        """Statistics of the fine images, which every check is held against."""
        return metrics.reference_statistics(self.case.hr, normals=self.case.normals)

    def inputs(self, rng: torch.Generator) -> tuple[Tensor, Tensor, list]:
        """Coarse cubes, and what the generator gets: with noise, and what else it takes."""
        r, case = self.recipe, self.case
        edge = r.coarse_window(case.scale_factor) + 2 * r.halo
        if case.lr is None:
            lr = torch.empty((r.batch, 0, edge, edge, edge), device=self.device)
        else:
            cubes = sample_cubes(case.lr, edge, r.batch * r.patch_candidates, rng)
            lr = one_hot(cubes, len(case.lr_phases)).movedim(0, 1).to(self.device)  # line 2
            if r.patch_candidates > 1:
                lr = most_mixed(lr, r.patch_candidates)
        z = torch.randn((r.batch, r.noise_channels, edge, edge, edge), generator=rng)  # line 3
        x = torch.cat([lr, z.to(self.device)], 1)  # line 4
        extra = []
        if r.network == "laptop":
            inner = (slice(r.halo, edge - r.halo),) * 3
            beyond = max(0, r.halo - self.model.coarse_halo)  # seen by the fine layers, too
            keep = (slice(r.halo - beyond, edge - r.halo + beyond),) * 3
            fine = None
            if self.model.fine_noise:
                size = (r.batch, 1, *(self.model.grid * (edge - 2 * (r.halo - beyond)),) * 3)
                fine = (3**0.5 * (2 * torch.rand(size, generator=rng) - 1)).to(self.device)
            extra = [keep, fine, inner]
        return lr, x.contiguous(memory_format=torch.channels_last_3d), extra

    def squares(self, fake: Tensor, axis: int, rng: torch.Generator) -> Tensor:
        """As many squares of the fine images as there are fake slices, ``(B, n, H, W)``."""
        case, count = self.case, max(1, self.recipe.real_candidates)
        squares = sample_squares(self.images[axis], fake.shape[2], count * len(fake), rng)
        real = one_hot(squares, len(case.phases)).movedim(0, 1).to(self.device)
        if count == 1:
            return real
        ours, theirs = (x.mean((2, 3)) @ self.phase_map for x in (fake.float(), real))
        far = torch.cdist(ours, theirs)
        picks = []
        for row in far:
            picks.append(row.argmin())
            far[:, picks[-1]] = torch.inf
        return real[torch.stack(picks)]

    def step(self) -> dict:
        """One iteration of Algorithm 1; returns its losses.

        As in the public code, every iteration trains the critic and every k-th the generator as
        well (GAP-07).
        """
        r, rng = self.recipe, self.random(self.rank)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * r.rate(self.iteration)
        self._normalise()
        generator_turn = self.iteration % r.generator_every == 0
        lr, x, extra = self.inputs(rng)  # lines 2 to 4
        with autocast(self.device), torch.set_grad_enabled(generator_turn):
            sr = self.generator(x, *extra)  # line 5
        inner = sr[(..., *[slice(r.crop, -r.crop or None)] * 3)]  # line 6
        if r.straight_through:
            inner = straight_through(inner)
        core = lr[(..., *[slice(r.halo, -r.halo or None)] * 3)]
        batch = Batch(lr, core, sr, inner)
        log = self._update_critics(inner, rng)
        mismatch = self.consistency(batch, self.iteration)  # line 9
        log["voxelwise"], log["anchored"] = (
            mismatch.item(),
            float(mismatch >= r.consistency_threshold),
        )
        log["content"] = r.consistency_weight * log["voxelwise"] * log["anchored"]
        if generator_turn:
            with autocast(self.device):
                pairs = zip(self.critics, self.axes, strict=True)
                scores = [critic(self._slices(inner, axes, rng)) for critic, axes in pairs]
            scores = torch.cat(scores) if r.critic_steps else mismatch.new_zeros(3)
            loss = losses.generator_loss(
                scores, mismatch, r.consistency_weight, r.consistency_threshold
            )  # lines 10 to 13
            for term in self.terms:
                loss = loss + term(batch)
            self.update(self.optimisers[0], loss)  # line 14
            self.ema.update_parameters(self.generator)
            log["scores"] = [x.item() for x in scores.detach().float().view(3, -1).mean(1)]
            log["style"] = -float(np.mean(log["scores"]))
        self.iteration += 1
        return log

    def _update_critics(self, inner: Tensor, rng: torch.Generator) -> dict:
        """Train every critic on slices of the volume and of the images; the log of the step."""
        r = self.recipe
        log: dict[str, Any] = {"gap": 0.0, "penalty": 0.0, "scores": []}
        each = r.critic_steps * len(self.critics)
        for critic, optimiser, axes in zip(
            self.critics, self.optimisers[1:], self.axes, strict=True
        ):
            for _ in range(r.critic_steps):
                fake = self._slices(inner, axes, rng).detach()
                real = self.squares(fake, axes[0], rng)  # line 16
                real = real.contiguous(memory_format=torch.channels_last)
                with autocast(self.device):
                    penalty = losses.gradient_penalty(
                        critic, real, fake, r.gradient_penalty_weight, rng
                    )  # line 17
                    gap = losses.critic_loss(critic(real), critic(fake))  # line 18
                self.update(optimiser, gap + penalty)  # line 19
                log["gap"] -= gap.item() / each
                log["penalty"] += penalty.item() / each
        return log

    def _slices(self, inner: Tensor, axes: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Random slices normal to some axes, ``(slices, n, H, W)`` (line 7)."""
        count, size = self.recipe.slices, inner.shape[2]
        picks = [
            None if count is None else torch.randperm(size, generator=rng)[:count] for _ in axes
        ]
        return torch.cat([slice_volume(inner, a, p) for a, p in zip(axes, picks, strict=True)])

    def _normalise(self) -> None:
        """Set the generator's batch normalisation to this iteration's way."""
        r = self.recipe
        if r.renorm:
            for norm in self.generator.norms:
                norm.momentum = MOMENTUM
                norm.share = min(1.0, max(0.0, (self.iteration / r.iterations - 0.2) / 0.3))
        elif r.norm and self.iteration >= self.half:
            if self.iteration == self.half:
                for model in (self.generator, self.model):
                    self.recalibrate_batchnorm(model)
            self.generator.eval()

    def update(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of one optimiser; gradients are averaged over the processes of a run."""
        parameters = optimiser.param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = all_reduce_mean(gradient)
        optimiser.step()

    @property
    def model(self) -> nn.Module:
        """The averaged generator: the one to keep."""
        return self.ema.module

    def recalibrate_batchnorm(self, model: nn.Module) -> None:
        """Measure the statistics of batch normalisation on many windows.

        They are fixed for the second half of a training, so that it ends with the very generator
        that will be used; before, and with renormalisation, averaged weights get statistics of
        their own at every check.
        """
        for norm in model.norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all that follows
        rng = torch.Generator().manual_seed(self.seed)
        with torch.no_grad(), autocast(self.device):
            for _ in range(min(64, 4 * self.recipe.iterations)):
                _, x, extra = self.inputs(rng)
                model.train()(x, *extra)

    def check(self) -> dict:
        """Measure the model on a part of the coarse volume and keep the best weights."""
        if self.recipe.renorm or (self.recipe.norm and self.iteration <= self.half):
            self.recalibrate_batchnorm(self.model)
        for buffer in self.model.buffers():  # statistics of normalisation
            if buffer.is_floating_point():
                buffer.copy_(all_reduce_mean(buffer))
        edge = self.recipe.validation_size
        if self.case.lr is None:
            inner = None
            labels = generate(self.model, (int(self.case.scale_factor) * edge // 2,) * 3, self.seed)
        else:
            step = exact_scale(self.case.scale_factor).denominator  # what tiles must divide
            coarse = self.case.lr[
                tuple(slice((min(edge, n) - 2) // step * step + 2) for n in self.case.lr.shape)
            ]
            inner, labels = coarse[1:-1, 1:-1, 1:-1], superres(self.model, coarse, seed=self.seed)
        entry = {"iteration": self.iteration, **quality(labels, inner, self.case, self.reference)}
        entry["volume_fractions"] = metrics.volume_fractions(labels, len(self.case.phases)).tolist()
        areas = metrics.interphase_areas(labels, len(self.case.phases))
        entry["interphase_areas"] = {f"{a}-{b}": float(v) for (a, b), v in areas.items()}
        early = self.iteration < LATE * self.recipe.iterations
        wanted = self.case.target_fractions()
        lost = bool((np.array(entry["volume_fractions"]) < LOST * wanted).any())
        rank = [lost, early, entry["over"], entry["score"]]
        if not self.best or rank < self.best["rank"]:
            self.best = {"rank": rank, "iteration": self.iteration}
            self.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        return entry

    def modules(self) -> dict:
        """Networks, optimisers and running fractions."""
        named = {"generator": self.generator, "ema": self.ema}
        named |= {f"critic{i}": critic for i, critic in enumerate(self.critics)}
        named |= {f"optimiser{i}": optimiser for i, optimiser in enumerate(self.optimisers)}
        return named | {
            type(term).__name__: term for term in self.terms if hasattr(term, "state_dict")
        }

    def key(self) -> str:
        """Recipe, seed and data."""
        return json.dumps([asdict(self.recipe), self.seed, *self.case.key()], sort_keys=True)

    def record(self, steps: list[dict]) -> dict:
        """The check of the volume, with the mean losses since the last one."""
        entry = self.check()
        for k in ("voxelwise", "anchored", "content", "style", "gap", "penalty"):
            if seen := [step[k] for step in steps if k in step]:
                entry[k] = float(np.mean(seen))
        entry["scores"] = next((s["scores"] for s in reversed(steps) if s["scores"]), [])
        return entry

    def postfix(self) -> str:
        """Fractions and areas of the last check."""
        last = self.history[-1]
        fractions = "/".join(f"{v:.3f}" for v in last["volume_fractions"])
        return f"fractions {fractions}, areas " + "/".join(
            f"{v:.4f}" for v in last["interphase_areas"].values()
        )

    def finished(self) -> bool:
        """Whether fractions and areas are as good as the recipe asks."""
        return bool(self.history) and self.history[-1]["stop"] < self.recipe.stop_below

    def fingerprint(self, profile: str | None = None) -> dict:
        """What should be known of the weights of this training."""
        return {
            "case": self.case.name,
            "source": self.case.source,
            "profile": profile,
            "recipe": asdict(self.recipe),
            "data_sha256": self.case.key()[0],
            "voxel_nm": self.case.voxel_nm,
            "best_iteration": self.best.get("iteration"),
            "history": self.history,
        } | super().fingerprint()


def _check_recipe(case: Case, recipe: Recipe) -> None:
    """Raise a ValueError if a recipe does not fit a case."""
    if case.scale_factor != int(case.scale_factor) and recipe.network == "paper":
        raise ValueError(
            f"a training is checked tile by tile, which needs a whole scale factor for the "
            f"paper's network, not {case.scale_factor}: resample the fine images to one"
        )
    if recipe.real_candidates > 1 and case.lr is None:
        raise ValueError(
            "squares are matched by coarse phases, and there are none: use real_candidates=0"
        )
    inner = recipe.window - 2 * recipe.crop
    if recipe.interface_isotropy_weight and inner <= case.scale_factor:
        raise ValueError(
            f"the interface isotropy loss needs more than {case.scale_factor} voxels of a window, "
            f"and {inner} are left of it: use a larger one, or interface_isotropy_weight=0"
        )


ROOM = 10_000  # bytes for a fine voxel of a window; where there is so much, it fits


def of_training(case: Case, recipe: Recipe, device: str | torch.device = "cpu") -> int:
    """Peak memory of the first iteration, in bytes: networks, optimisers and all it makes.

    Args:
        case: The inputs; of the volume and the images it reads no more than one window each.
        recipe: Every number of the training.
        device: Where it would run.

    Raises:
        ValueError: if case and recipe do not fit.
    """
    trainer = SuperResTrainer(case, recipe, 0, torch.device(device))
    nets = trainer.generator, trainer.ema, *trainer.critics
    held = sum(x.nbytes for net in nets for x in net.state_dict().values())
    return held + memory.peak_bytes(trainer.step)


def _check_memory(trainer: SuperResTrainer) -> None:
    r, device = trainer.recipe, trainer.device
    there, voxels = memory.available_bytes(device), r.batch * r.window**3
    if there is None or voxels * ROOM < there or torch.distributed.is_initialized():
        return
    try:
        needed = of_training(trainer.case, r, device)
    except RuntimeError:  # a training whose memory cannot be told is tried
        return
    what = f"a training with {r.batch} windows of {r.window} fine voxels an edge"
    memory.check(needed, what, "use a smaller window, fewer slices, or recompute=True", device)


def fit_superres(
    case: Case,
    profile: str = "laptop",
    seed: int = 0,
    device: str | None = None,
    seconds: float | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    callback: Callable[[list[dict]], None] | None = None,
    **changes: Any,
) -> nn.Module:
    """Train a generator for one case (SuperRes, Algorithm 1).

    The same seed gives the same weights on the same kind of CPU. Under ``torchrun`` every process
    draws its own cubes and gradients are averaged.

    Args:
        case: The inputs, from :func:`srlib.datasets.load` or made of your own arrays.
        profile: ``"smoke"``, ``"laptop"`` (with :func:`laptop_changes`) or ``"full"``,
            the published network and recipe.
        seed: Of the weights, the windows and the noise.
        device: ``"cpu"`` or ``"cuda"``; None for CUDA if there is one.
        seconds: Stop after so many seconds; None to count iterations only.
        out: Folder for a checkpoint at every check; a training found there is continued.
        progress: Show a bar with the loss, fractions and areas.
        callback: Called with the list of checks so far after every check.
        **changes: Fields of :class:`Recipe` to change.

    Returns:
        The best of the checked, averaged generators, in evaluation mode; ``.meta`` holds recipe,
        history, seconds and device.

    Raises:
        ValueError: for an unknown profile or recipe field, or data that do not fit.
        MemoryError: if an iteration does not fit into memory.

    Example:
        >>> from srlib import datasets
        >>> from srlib.training import fit_superres
        >>> case = datasets.load("case3", source="twin", edge=64)
        >>> few = dict(iterations=1, check_every=1, validation_size=4, window=16, slices=2)
        >>> model = fit_superres(case, "smoke", progress=False, **few)
        >>> model.scale_factor, len(model.meta["history"])
        (4, 1)
    """
    recipe = _recipe(case, profile, changes)
    trainer = SuperResTrainer(case, recipe, seed, choose_device(device))
    _check_memory(trainer)
    path = Path(out) / f"{case.name}-{case.source}-{seed}.checkpoint" if out else None
    label = f"{case.name} ({case.source})"
    options: dict[str, Any] = dict(
        seconds=seconds, label=label, progress=progress, callback=callback
    )
    trainer.run(recipe.iterations, recipe.check_every, path, **options)
    model = trainer.model
    model.load_state_dict(trainer.best_weights)
    model.meta = trainer.fingerprint(profile)
    return model.eval()


def load_or_fit(
    case: Case,
    seeds: Sequence[int],
    profile: str,
    anew: int = 0,
    device: str | None = None,
) -> dict[int, nn.Module]:
    """Shipped generators of a case by their seeds, or trainings in their place.

    Args:
        case: Its name and source are those of the weights.
        seeds: Of the trainings.
        profile: As in :func:`fit_superres`.
        anew: So many of them, the first, are trained; 0 or False loads all.
        device: As in :func:`fit_superres`.

    Raises:
        ValueError: if there are no such weights.
    """
    return {
        seed: fit_superres(case, profile, seed, device)
        if seed in seeds[:anew]
        else models.load(f"{case.name}-{case.source}-{seed}")
        for seed in seeds
    }


def in_words(meta: Mapping) -> str:
    """What a chapter says of a training, from ``.meta`` of the generator."""
    return (
        f"{meta['profile']} recipe, {meta['recipe']['iterations']} iterations in "
        f"{meta['seconds'] / 60:.1f} minutes on {meta['device']} with {meta['threads']} thread(s); "
        f"kept: iteration {meta['best_iteration']}"
    )


def _recipe(case: Case, profile: str, changes: dict) -> Recipe:
    """The recipe of a profile for a case, with changes.

    Raises:
        ValueError: for an unknown profile or field.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    fitting = "window" not in changes
    if profile == "laptop":
        changes = laptop_changes(case) | changes
    try:
        recipe = replace(PROFILES[profile], **changes)
    except TypeError:
        unknown = sorted(set(changes) - {f.name for f in fields(Recipe)})
        raise ValueError(
            f"a recipe has no {', '.join(unknown)}: see the fields of srlib.training.Recipe"
        ) from None
    if not fitting:
        return recipe
    return replace(recipe, window=fitting_window(recipe.window, case.scale_factor))
