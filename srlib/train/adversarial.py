"""Algorithm 1 of SuperRes: one generator, one critic or three, one iteration at a time."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srlib import checkpoint, losses, metrics, results
from srlib.data import Case, most_mixed, one_hot, sample_cubes, sample_squares, slice_volume
from srlib.degrade import exact_scale
from srlib.infer import generate, superres
from srlib.precision import autocast, number_format
from srlib.train.processes import mean_of_all, same_on_all
from srlib.train.quality import quality
from srlib.train.recipe import Recipe, build

SPARING = 500  # iterations until a one-sided loss spares as much as the case says
MOMENTUM = 0.02  # of the running statistics of batch renormalisation
LATE = 0.8  # share of the iterations after which weights have come to rest and may be kept


class Trainer:
    """One training: its networks, its optimisers and where it is.

    All randomness of iteration i comes from ``(seed, i, rank)``, so nothing but the networks with
    their statistics, the optimisers and the running shares of the phases has to be saved for a
    killed training to go on as if nothing had happened.
    """

    def __init__(self, case: Case, recipe: Recipe, seed: int, device: torch.device) -> None:
        if case.scale_factor != int(case.scale_factor) and recipe.network == "paper":
            raise ValueError(
                f"a training is checked tile by tile, which needs a whole scale factor for the "
                f"paper's network, not {case.scale_factor}: resample the fine images to one"
            )
        if recipe.match > 1 and case.lr is None:
            raise ValueError(
                "squares are matched by coarse phases, and there are none: use match=0"
            )
        inner = recipe.window - 2 * recipe.crop
        if recipe.evenness and inner <= case.scale_factor:
            raise ValueError(
                f"the evenness loss needs more than {case.scale_factor} voxels of a window, and "
                f"{inner} are left of it: use a larger one, or evenness=0"
            )
        self.case, self.recipe, self.seed, self.device = case, recipe, int(seed), device
        self.rank = int(os.environ.get("RANK", 0))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.generator, self.critics = build(case, recipe)
        self.generator.to(device, memory_format=torch.channels_last_3d)
        for net in (self.generator, *self.critics):
            net.to(device)
            same_on_all(net)
        average = get_ema_multi_avg_fn(recipe.ema)
        # Statistics of batch normalisation are not averaged but measured anew: see `settle`.
        self.ema = AveragedModel(self.generator, multi_avg_fn=average, use_buffers=not recipe.norm)
        rates = [(self.generator, recipe.lr_generator)]
        rates += [(critic, recipe.lr_critic) for critic in self.critics]
        self.optimisers = [
            torch.optim.Adam(net.parameters(), lr, betas=recipe.betas) for net, lr in rates
        ]
        self.images = [case.images(axis) for axis in range(3)]
        self.phase_map = torch.from_numpy(case.phase_map).to(device)
        self.wanted = torch.from_numpy(case.wanted()).float().to(device)
        self.shares = self.wanted.clone()  # of the phases in the output, lately
        self.iteration, self.history, self.best, self.seconds = 0, [], {}, 0.0
        self.half = -(-recipe.iterations // 2)

    def inputs(self, rng: torch.Generator) -> tuple[Tensor, Tensor, list]:
        """Coarse cubes, and what the generator gets: with noise, and what else it takes."""
        r, case = self.recipe, self.case
        edge = r.coarse_window(case.scale_factor) + 2 * r.halo
        if case.lr is None:
            lr = torch.empty((r.batch, 0, edge, edge, edge), device=self.device)
        else:
            cubes = sample_cubes(case.lr, edge, r.batch * r.rich, rng)
            lr = one_hot(cubes, len(case.lr_phases)).movedim(0, 1).to(self.device)  # line 2
            if r.rich > 1:
                lr = most_mixed(lr, r.rich)
        z = torch.randn((r.batch, r.noise_channels, edge, edge, edge), generator=rng)  # line 3
        x = torch.cat([lr, z.to(self.device)], 1)  # line 4
        extra = []
        if r.network == "laptop":
            part = (slice(r.halo, edge - r.halo),) * 3
            beyond = max(0, r.halo - self.model.coarse_halo)  # seen by the fine layers, too
            keep = (slice(r.halo - beyond, edge - r.halo + beyond),) * 3
            fine = None
            if self.model.fine_noise:
                size = (r.batch, 1, *(self.model.grid * (edge - 2 * (r.halo - beyond)),) * 3)
                fine = (3**0.5 * (2 * torch.rand(size, generator=rng) - 1)).to(self.device)
            extra = [keep, fine, part]
        return lr, x.contiguous(memory_format=torch.channels_last_3d), extra

    def squares(self, fake: Tensor, axis: int, rng: torch.Generator) -> Tensor:
        """As many squares of the fine images as there are fake slices, ``(B, n, H, W)``."""
        case, count = self.case, max(1, self.recipe.match)
        found = sample_squares(self.images[axis], fake.shape[2], count * len(fake), rng)
        real = one_hot(found, len(case.phases)).movedim(0, 1).to(self.device)
        if count == 1:
            return real
        far = torch.cdist(*(x.mean((2, 3)) @ self.phase_map for x in (fake.float(), real)))
        picks = []
        for row in far:
            picks.append(row.argmin())
            far[:, picks[-1]] = torch.inf
        return real[torch.stack(picks)]

    def step(self) -> dict[str, float]:
        """One iteration of Algorithm 1; returns its losses."""
        r, case, n = self.recipe, self.case, len(self.case.phases)
        rng = torch.Generator().manual_seed(
            hash((self.seed, self.iteration, self.rank)) & 0x7FFFFFFF
        )
        for optimiser, full in zip(
            self.optimisers, [r.lr_generator] + [r.lr_critic] * len(self.critics), strict=True
        ):
            optimiser.param_groups[0]["lr"] = full * r.rate(self.iteration)
        update = self.iteration % r.generator_every == 0
        if r.renorm:
            for norm in self.generator.norms:
                norm.momentum = MOMENTUM
                norm.share = min(1.0, max(0.0, (self.iteration / r.iterations - 0.2) / 0.3))
        elif r.norm and self.iteration >= self.half:
            if self.iteration == self.half:
                for model in (self.generator, self.model):
                    self.settle(model)
            self.generator.eval()

        lr, x, extra = self.inputs(rng)
        amp = autocast(self.device)
        with amp, torch.set_grad_enabled(update):
            sr = self.generator(x, *extra)  # line 5
        inner = sr[(..., *[slice(r.crop, -r.crop or None)] * 3)]  # line 6
        if r.hard:  # phases as in the output; gradients as if they were probabilities
            most = torch.zeros_like(inner).scatter_(1, inner.argmax(1, keepdim=True), 1)
            inner = most + inner - inner.detach()

        def cut(axes: tuple[int, ...]) -> Tensor:  # line 7
            size = inner.shape[2]
            picks = [
                None if r.slices is None else torch.randperm(size, generator=rng)[: r.slices]
                for _ in axes
            ]
            return torch.cat([slice_volume(inner, a, p) for a, p in zip(axes, picks, strict=True)])

        groups = [(0, 1, 2)] if len(self.critics) == 1 else [(0,), (1,), (2,)]
        log = {"gap": 0.0, "penalty": 0.0, "scores": []}
        for critic, optimiser, axes in zip(self.critics, self.optimisers[1:], groups, strict=True):
            for _ in range(r.critic_steps):
                fake = cut(axes).detach()
                real = self.squares(fake, axes[0], rng)  # line 16
                real = real.contiguous(memory_format=torch.channels_last)
                with amp:
                    penalty = losses.gradient_penalty(critic, real, fake, r.penalty, rng)  # line 17
                    gap = losses.critic_loss(critic(real), critic(fake))  # line 18
                self.update(optimiser, gap + penalty)  # line 19
                log["gap"] -= gap.item() / r.critic_steps / len(groups)
                log["penalty"] += penalty.item() / r.critic_steps / len(groups)
        core, anchor = lr[(..., *[slice(r.halo, -r.halo or None)] * 3)], sr.new_zeros(())
        if case.lr is not None:
            # Spared bit by bit: critics that know nothing yet would make everything solid.
            spare = (case.spare or 0.0) * min(1.0, self.iteration / SPARING)
            pair = case.mixed_up and case.mixed_up[:2]
            how = case.mode, self.phase_map, r.temperature, case.one_sided, spare, pair
            anchor = losses.voxelwise_loss(sr, core, case.scale_factor, *how)  # line 9
        log["voxelwise"], log["anchored"] = anchor.item(), float(anchor >= r.gate)
        log["content"] = r.weight * log["voxelwise"] * log["anchored"]
        if update:
            with amp:
                scores = [
                    critic(cut(axes)) for critic, axes in zip(self.critics, groups, strict=True)
                ]
            scores = torch.cat(scores) if r.critic_steps else anchor.new_zeros(3)
            loss = losses.generator_loss(scores, anchor, r.weight, r.gate)  # lines 10 to 13
            if r.evenness:
                even = losses.evenness_loss(inner, case.scale_factor, case.normals is None)
                loss = loss + r.evenness * even
            if r.pattern:
                loss = loss + r.pattern * losses.pattern_loss(sr, lr, case.scale_factor)
            if case.mixed_up and r.shares:
                *pair, wrong = case.mixed_up
                loss = loss + r.shares * losses.share_loss(sr, core, case.scale_factor, pair, wrong)
            if r.balance:
                found = torch.bincount(inner.argmax(1).flatten(), minlength=n) / inner[:, 0].numel()
                found = mean_of_all(found)
                self.shares += 0.01 * (found - self.shares)
                loss = loss + r.balance * losses.balance_loss(inner, self.shares, self.wanted)
            self.update(self.optimisers[0], loss)  # line 14
            self.ema.update_parameters(self.generator)
            log["scores"] = [x.item() for x in scores.detach().float().view(3, -1).mean(1)]
            log["style"] = -float(np.mean(log["scores"]))
        self.iteration += 1
        return log

    def update(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of one optimiser; gradients are averaged over the processes of a run."""
        parameters = optimiser.param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = mean_of_all(gradient)
        optimiser.step()

    @property
    def model(self) -> nn.Module:
        """The averaged generator: the one to keep."""
        return self.ema.module

    def settle(self, model: nn.Module) -> None:
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

    def check(self, reference: dict) -> dict:
        """Measure the model on a part of the coarse volume and keep the best weights."""
        if self.recipe.renorm or (self.recipe.norm and self.iteration <= self.half):
            self.settle(self.model)
        for buffer in self.model.buffers():  # statistics of normalisation
            if buffer.is_floating_point():
                buffer.copy_(mean_of_all(buffer))
        edge = self.recipe.check_edge
        if self.case.lr is None:
            inner = None
            labels = generate(self.model, (int(self.case.scale_factor) * edge // 2,) * 3, self.seed)
        else:
            step = exact_scale(self.case.scale_factor).denominator  # what tiles must divide
            part = self.case.lr[
                tuple(slice((min(edge, n) - 2) // step * step + 2) for n in self.case.lr.shape)
            ]
            inner, labels = part[1:-1, 1:-1, 1:-1], superres(self.model, part, seed=self.seed)
        found = {"iteration": self.iteration, **quality(labels, inner, self.case, reference)}
        found["volume_fractions"] = metrics.volume_fractions(labels, len(self.case.phases)).tolist()
        areas = metrics.interphase_areas(labels, len(self.case.phases))
        found["interphase_areas"] = {f"{a}-{b}": float(v) for (a, b), v in areas.items()}
        early = self.iteration < LATE * self.recipe.iterations
        rank = [early, found["over"], found["score"]]
        if not self.best or rank < self.best["rank"]:
            self.best = {"rank": rank, "iteration": self.iteration}
            self.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        return found

    def about(self, profile: str) -> dict:
        """What should be known of the weights of this training."""
        return {
            "case": self.case.name,
            "source": self.case.source,
            "profile": profile,
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "data_sha256": self.case.key()[0],
            "voxel_nm": self.case.voxel_nm,
            "commit": results.commit(),
            "device": str(self.device),
            "numbers": str(number_format(self.device)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "seconds": round(self.seconds, 1),
        }

    def save(self, path: Path) -> None:
        """Write all that a continued training needs, atomically."""
        nets = {f"critic{i}": c.state_dict() for i, c in enumerate(self.critics)}
        steps = {f"optimiser{i}": o.state_dict() for i, o in enumerate(self.optimisers)}
        tensors, rest = checkpoint.flatten(
            generator=self.generator.state_dict(),
            ema=self.ema.state_dict(),
            best=self.best_weights if self.best else {},
            shares={"lately": self.shares},
            **nets,
            **steps,
        )
        where = {k: getattr(self, k) for k in ("iteration", "history", "best", "seconds")}
        checkpoint.write(path, tensors, {"rest": rest, "where": where, "key": self.key()})

    def key(self) -> str:
        """What a checkpoint must share with a training to continue it."""
        return json.dumps([asdict(self.recipe), self.seed, *self.case.key()], sort_keys=True)

    def resume(self, path: Path) -> None:
        """Go on from :meth:`save`."""
        tensors, meta = checkpoint.read(path)
        if meta.get("key") != self.key():
            raise ValueError(
                f"{path} is of a training with another recipe, seed or data: choose another folder"
            )
        states = checkpoint.unflatten(tensors, meta["rest"])
        self.generator.load_state_dict(states["generator"])
        self.ema.load_state_dict(states["ema"])
        for i, critic in enumerate(self.critics):
            critic.load_state_dict(states[f"critic{i}"])
        for i, optimiser in enumerate(self.optimisers):
            optimiser.load_state_dict(states[f"optimiser{i}"])
        self.best_weights = states.get("best", {})
        self.shares = states["shares"]["lately"].to(self.device)
        for k, v in meta["where"].items():
            setattr(self, k, v)
