"""Many images of few: a small StyleGAN2 with adaptive augmentation learns label images (Rock x8).

The paper makes 10,000 squares of 14 images this way and trains its critic on them. It says no more
about it, so sizes and rates are ours. Left out of StyleGAN2: the regularisation of path lengths and
the mixing of styles, which are for editing images.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srlib import losses
from srlib.data.sampling import check_images, one_hot, sample_squares
from srlib.metrics.symmetry import symmetries
from srlib.models.stylegan import StyleCritic, StyleGenerator
from srlib.precision import autocast
from srlib.training.augmentation import adapted, augment
from srlib.training.distributed import choose_device
from srlib.training.loop import Trainer, straight_through, update_average
from srlib.training.supervised import plateau

ADAPT = 4  # iterations from one change of p to the next
AT_ONCE = 64  # images that are made together


@dataclass(frozen=True)
class SynthesisRecipe:
    """A training of about a quarter of an hour on two cores.

    Attributes:
        iterations: Steps of critic and generator.
        batch: Images a step, real and generated; a multiple of 4.
        edge: Of an image in pixels: 8, 16, 32, 64 ...
        latent, width, max_channels: See :class:`srlib.models.StyleGenerator`.
        rate: Full learning rate of both; it falls in the second half.
        gradient_penalty_weight: The gamma of R1.
        gradient_penalty_every: Steps from one R1 to the next (16 in StyleGAN2).
        ema_decay: Decay of the averaged weights that are returned (EMA).
        straight_through: Show the critic phases as in the output, with gradients as if they were
            probabilities.
        volume_fraction_weight: Weight of :func:`srlib.losses.volume_fraction_loss`; 0 for none.
        target: Of the overfitting that ADA allows.
        span: Images in which ADA's p can rise from 0 to 1.
        isotropic: Learn from, and make, all eight mirrors and quarter turns of images.
        check_every: Iterations from one entry of the history, and one checkpoint, to the next.
    """

    iterations: int = 3000
    batch: int = 16
    edge: int = 64
    latent: int = 64
    width: int = 16
    max_channels: int = 64
    rate: float = 0.0025
    gradient_penalty_weight: float = 1.0
    gradient_penalty_every: int = 8
    ema_decay: float = 0.998
    straight_through: bool = True
    volume_fraction_weight: float = 10.0
    target: float = 0.6
    span: float = 10_000
    isotropic: bool = True
    check_every: int = 100


class StyleGANTrainer(Trainer):
    """Generator, critic, and the probability p of augmentations."""

    kept = (*Trainer.kept, "p", "signs", "shares")

    def __init__(
        self,
        images: list[np.ndarray],
        n_phases: int,
        recipe: SynthesisRecipe,
        seed: int,
        device: torch.device,
        ada: bool,
    ) -> None:
        super().__init__(seed, device)
        r = self.recipe = recipe
        self.ada, self.data = ada, _data_key(images, n_phases)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            options: dict[str, Any] = dict(
                width=r.width, max_channels=r.max_channels, isotropic=r.isotropic
            )
            self.generator = StyleGenerator(n_phases, r.edge, r.latent, **options)
            self.critic = StyleCritic(n_phases, r.edge, r.width, r.max_channels)
        self.averaged = copy.deepcopy(self.generator).eval()
        for net in (self.generator, self.critic, self.averaged):
            net.to(device)
        counts = np.sum([np.bincount(i.ravel(), minlength=n_phases) for i in images], 0)
        self.wanted = torch.tensor(counts / counts.sum()).float().clamp_min(1e-6).to(device)
        self.images = [s for i in images for s in symmetries(i)] if r.isotropic else list(images)
        self.optimisers = [
            torch.optim.Adam(net.parameters(), r.rate, betas=(0.0, 0.99))
            for net in (self.generator, self.critic)
        ]
        self.shares = self.wanted.clone()  # of the phases in the output, lately
        self.p = 0.0
        self.signs: list[float] = []

    def modules(self) -> dict:
        named = {k: getattr(self, k) for k in ("generator", "critic", "averaged")}
        return named | {f"optimiser {k}": o for k, o in enumerate(self.optimisers)}

    def key(self) -> str:
        return json.dumps([*self.data, asdict(self.recipe), self.seed, self.ada])

    def record(self, steps: list[dict]) -> dict:
        entry = {"iteration": self.iteration, "p": self.p}
        for k in ("r_t", "critic", "generator", "penalty"):
            if seen := [log[k] for log in steps if k in log]:
                entry[k] = sum(seen) / len(seen)
        return entry

    def postfix(self) -> str:
        return "r_t {r_t:.2f}, p {p:.2f}".format(**self.history[-1])

    def shown(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images as the critic sees them: augmented."""
        return augment(images, self.p, rng).contiguous(memory_format=torch.channels_last)

    def judge(self, images: Tensor) -> Tensor:
        """Scores ``(B,)`` of augmented images."""
        with autocast(self.device):
            return self.critic(images).float()

    def step(self) -> dict[str, float]:
        """One step of the critic and one of the generator; returns their losses."""
        r, i, n, rng = self.recipe, self.iteration, len(self.wanted), self.random()
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = r.rate * plateau(i, r.iterations)
        z = torch.randn((r.batch, r.latent), generator=rng).to(self.device)
        with autocast(self.device):
            fake = self.generator(z, rng)
        if r.straight_through:
            fake = straight_through(fake)
        real = one_hot(sample_squares(self.images, r.edge, r.batch, rng), n)
        real = self.shown(real.movedim(0, 1).to(self.device), rng)

        scores = self.judge(real)
        loss = losses.logistic_critic_loss(scores, self.judge(self.shown(fake.detach(), rng)))
        log = {"critic": loss.item(), "r_t": scores.detach().sign().mean().item()}
        if i % r.gradient_penalty_every == 0:
            weight = r.gradient_penalty_weight * r.gradient_penalty_every
            penalty = losses.r1_penalty(self.judge, real, weight)
            log["penalty"] = penalty.item()
            loss = loss + penalty
        self._update(1, loss)

        self.critic.requires_grad_(False)
        loss = losses.nonsaturating_generator_loss(self.judge(self.shown(fake, rng)))
        log["generator"] = loss.item()
        if r.volume_fraction_weight:
            self.shares.lerp_(fake.detach().mean((0, 2, 3)), 0.02)
            balance = losses.volume_fraction_loss(fake[:, :, None], self.shares, self.wanted)
            loss = loss + r.volume_fraction_weight * balance
        self._update(0, loss)
        self.critic.requires_grad_(True)

        update_average(self.averaged, self.generator, r.ema_decay, i)
        self.signs.append(log["r_t"])
        if self.ada and len(self.signs) == ADAPT:
            r_t = sum(self.signs) / ADAPT
            self.p = adapted(self.p, r_t, ADAPT * r.batch, r.target, r.span)
        self.signs = self.signs[: len(self.signs) % ADAPT]
        self.iteration += 1
        return log

    def _update(self, which: int, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise ValueError(f"a loss is {loss.item()}, step {self.iteration}: use a smaller rate")
        self.optimisers[which].zero_grad()
        loss.backward()
        self.optimisers[which].step()


def fit_stylegan(
    images: list[np.ndarray],
    n_phases: int,
    seed: int = 0,
    recipe: SynthesisRecipe | None = None,
    device: str | None = None,
    *,
    ada: bool = True,
    out: str | Path | None = None,
    progress: bool = True,
    callback: Callable[[list[dict]], None] | None = None,
) -> StyleGenerator:
    """Train a generator of label images that look like parts of the given ones.

    Non-saturating logistic loss with a lazy R1 penalty; the critic sees augmented images (ADA).

    Args:
        images: Label images ``(H, W)`` of uint8 phases, of any sizes, none below the edge.
        n_phases: Phases, numbered 0 to ``n_phases - 1``.
        seed: Of weights, crops, latents and noise.
        recipe: None for the laptop's.
        device: ``"cpu"`` or ``"cuda"``; None for CUDA if there is one.
        ada: Whether augmentation adapts; without it there is none.
        out: File of the checkpoint; a training found there is continued.
        progress: Show a bar with losses, r_t and p.
        callback: Called with the history so far after every entry.

    Returns:
        The generator with averaged weights, in evaluation mode, for :func:`synthesise`; ``.meta``
        holds recipe, seed, seconds, device, and the history of p, r_t and losses.

    Raises:
        ValueError: for images that do not fit, a checkpoint of another training, or a loss that is
            not finite.
    """
    recipe = recipe or SynthesisRecipe()
    check_images(images, n_phases, recipe.edge)
    device = choose_device(device)
    trainer = StyleGANTrainer(images, n_phases, recipe, seed, device, ada)
    options: dict[str, Any] = dict(label="StyleGAN", progress=progress, callback=callback)
    trainer.run(recipe.iterations, recipe.check_every, Path(out) if out else None, **options)
    model = trainer.averaged
    model.meta = {
        "recipe": asdict(recipe),
        "ada": ada,
        "data_sha256": trainer.data[0],
        "history": trainer.history,
    } | trainer.fingerprint()
    return model.eval()


def _data_key(images: list[np.ndarray], n_phases: int) -> tuple:
    """Hash and shapes of the images, and their phases."""
    voxels = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    return voxels, [image.shape for image in images], n_phases


@torch.no_grad()
def synthesise(
    model: StyleGenerator, count: int, seed: int = 0, hard: bool = True, truncation: float = 1.0
) -> np.ndarray:
    """Make images with a trained generator.

    Args:
        model: Of :func:`fit_stylegan`.
        count: How many. The first ones of many are those of few.
        seed: Of latents and noise.
        hard: Give labels; otherwise the probabilities.
        truncation: Below 1, styles are pulled towards their mean by this factor: fewer odd images,
            less variety, other statistics.

    Returns:
        ``(count, edge, edge)`` uint8 phases, or ``(count, n, edge, edge)`` float32 in [0, 1].

    Raises:
        ValueError: if the count is not positive, or the model is of another kind.
    """
    if not isinstance(model, StyleGenerator):
        raise ValueError(f"a {type(model).__name__} makes no images: give one of fit_stylegan")
    if count < 1:
        raise ValueError(f"the count of images must be 1 or more, not {count}")
    device = next(model.parameters()).device
    rng = torch.Generator().manual_seed(0)
    mean = model.mapping(torch.randn((4096, model.latent), generator=rng).to(device)).mean(0)
    made = []
    for first in range(0, count, AT_ONCE):
        rng = torch.Generator().manual_seed(hash((int(seed), first)) & 0x7FFFFFFF)
        w = model.mapping(torch.randn((AT_ONCE, model.latent), generator=rng).to(device))
        with autocast(device):
            images = model.synthesis(mean.lerp(w, truncation), rng)
        made.append(images.argmax(1).byte().cpu() if hard else images.cpu())
    return torch.cat(made)[:count].numpy()
