"""Training on pairs: what a network should answer is known, so a loss is all it needs."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.data.case import Case
from srlib.data.sampling import one_hot
from srlib.physics.downsampling import exact_scale
from srlib.precision import autocast
from srlib.training.distributed import choose_device
from srlib.training.loop import Trainer, update_average
from srlib.training.recipe import Recipe, build

WARMUP = 50  # iterations until the rate is full


def plateau(i: int, iterations: int) -> float:
    """Share of the full rate: a short rise, full to the half, then down to 2 %."""
    return min(1.0, (i + 1) / WARMUP, max(0.02, 2 * (1 - i / iterations)))


def one_cycle(i: int, iterations: int, rise: float = 0.25) -> float:
    """Share of the full rate: a cosine up, from a 25th, and a cosine down (IN-11)."""
    done = i / iterations
    if done < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / rise)) / 2
    return max(1e-4, (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2)


def crops(
    n: int, shape: tuple[int, ...], crop: int, rng: torch.Generator
) -> Iterator[tuple[int, tuple, Callable[[Tensor], Tensor]]]:
    """Random squares of slices, each turned by quarters and mirrored; every one as likely.

    Args:
        n: How many.
        shape: Slices, rows, columns.
        crop: Edge of a square.
        rng: Of the places and turns.

    Yields:
        The slice, an index of the square in it, and a function that turns the square ``(..., crop,
        crop)``.
    """
    deep, high, wide = shape
    for _ in range(n):
        k, top, left, turn, flip = (
            int(torch.randint(0, m, (1,), generator=rng))
            for m in (deep, high - crop + 1, wide - crop + 1, 4, 2)
        )
        square = (..., slice(top, top + crop), slice(left, left + crop))

        def turned(x: Tensor, turn: int = turn, flip: int = flip) -> Tensor:
            x = torch.rot90(x, turn, (-2, -1))
            return x.flip(-1) if flip else x

        yield k, square, turned


def fit_supervised(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], Tensor],
    iterations: int,
    seed: int = 0,
    device: str | torch.device | None = None,
    *,
    rate: float = 1e-3,
    schedule: Callable[[int, int], float] = plateau,
    ema_decay: float = 0.0,
    clip: float | None = None,
    discriminator: tuple[nn.Module, Callable[[nn.Module, torch.Generator], Tensor]] | None = None,
    data_key: str = "",
    save_every: int = 500,
    out: str | Path | None = None,
    progress: bool = True,
) -> nn.Module:
    """Train a network whose answers are known.

    All randomness of iteration i comes from ``(seed, i)``, so a killed training goes on as if
    nothing had happened.

    Args:
        model: Any network; it is trained in place.
        loss: Draws a batch with the random generator and returns the loss of it, a scalar.
        iterations: Steps of Adam.
        seed: Of the batches; seed the weights where the network is made.
        device: ``"cpu"`` or ``"cuda"``; None for CUDA if there is one.
        rate: Full learning rate.
        schedule: Share of it at iteration i of n: :func:`plateau` or :func:`one_cycle`.
        ema_decay: Of the averaged weights that are returned (EMA); 0 for the last ones.
        clip: Longest gradient of all weights together; None for any.
        discriminator: A second network and its loss, trained in turn: the critic of a GAN.
        data_key: What else makes the training, such as its data; checkpoints of others are refused.
        save_every: Iterations between checkpoints.
        out: File of the checkpoint; a training found there is continued.
        progress: Show a bar with the loss.

    Returns:
        The network in evaluation mode; ``.meta`` holds the losses and where they were made.

    Raises:
        ValueError: if the checkpoint is of another training, or the loss is not finite.

    Example:
        >>> import torch
        >>> from srlib.training import fit_supervised
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> def loss(network, rng):
        ...     x = torch.rand(64, 1, generator=rng)
        ...     return (network(x) - 3 * x).square().mean()
        >>> model = fit_supervised(model, loss, 300, rate=0.1, device="cpu", progress=False)
        >>> round(model(torch.ones(1, 1)).item(), 1)
        3.0
    """
    trainer = _Supervised(
        {"model": (model, loss)} | ({"discriminator": discriminator} if discriminator else {}),
        iterations,
        seed,
        choose_device(device),
        rate=rate,
        schedule=schedule,
        ema_decay=ema_decay,
        clip=clip,
        data_key=data_key,
    )
    trainer.run(iterations, save_every, Path(out) if out else None, progress=progress)
    if trainer.averaged is not None:
        model.load_state_dict(trainer.averaged.state_dict())
    model.meta = {"losses": trainer.losses["model"], "iterations": iterations}
    if discriminator:
        model.meta["critic losses"] = trainer.losses["discriminator"]
    model.meta |= trainer.fingerprint()
    return model.eval()


class _Supervised(Trainer):
    """One network on pairs, or two that are trained in turn; each with its loss."""

    kept = ("iteration", "seconds", "losses")

    def __init__(
        self,
        tasks: dict[str, tuple[nn.Module, Callable[[nn.Module, torch.Generator], Tensor]]],
        iterations: int,
        seed: int,
        device: torch.device,
        *,
        rate: float,
        schedule: Callable[[int, int], float],
        ema_decay: float,
        clip: float | None,
        data_key: str,
    ) -> None:
        super().__init__(seed, device)
        self.tasks, self.iterations, self.rate, self.schedule = tasks, iterations, rate, schedule
        self.ema_decay, self.clip, self.data_key = ema_decay, clip, data_key
        networks = {name: network.to(device).train() for name, (network, _) in tasks.items()}
        self.model = networks["model"]
        self.optimisers = {k: torch.optim.Adam(v.parameters(), rate) for k, v in networks.items()}
        self.averaged = copy.deepcopy(self.model).eval() if ema_decay else None
        self.losses: dict[str, list[float]] = {name: [] for name in tasks}

    def modules(self) -> dict:
        named = {name: network for name, (network, _) in self.tasks.items()}
        named |= {f"{name} optimiser": o for name, o in self.optimisers.items()}
        return named | ({"averaged": self.averaged} if self.averaged else {})

    def key(self) -> str:
        config = str(getattr(self.model, "config", None))
        return json.dumps([config, self.iterations, self.seed, self.rate, self.data_key])

    def step(self) -> dict:
        i, rng = self.iteration, self.random()
        for name, (network, loss) in self.tasks.items():
            optimiser = self.optimisers[name]
            optimiser.param_groups[0]["lr"] = self.rate * self.schedule(i, self.iterations)
            with autocast(self.device):
                value = loss(network, rng)
            if not torch.isfinite(value):
                raise ValueError(f"the loss is {value.item()} at iteration {i}: use a smaller rate")
            optimiser.zero_grad()
            value.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(network.parameters(), self.clip)
            optimiser.step()
            self.losses[name].append(value.item())
        if self.averaged:
            update_average(self.averaged, self.model, self.ema_decay, i)
        self.iteration += 1
        return {"loss": self.losses["model"][-1]}

    def record(self, steps: list[dict]) -> dict:
        return {"loss": sum(step["loss"] for step in steps) / len(steps)}

    def postfix(self) -> str:
        return f"loss {self.history[-1]['loss']:.4f}"


def fit_recipe(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], Tensor],
    iterations: int,
    recipe: Any,
    seed: int,
    device: str | torch.device,
    about: dict,
    data_key: str,
    **options: Any,
) -> nn.Module:
    """:func:`fit_supervised` at the numbers of a recipe: one cycle, clipped gradients, an EMA.

    Args:
        recipe: A dataclass with ``rate`` and ``ema_decay``.
        about: What else makes the training; ``.meta`` tells it, and the recipe.
        data_key: Of the data.
        model, loss, iterations, seed, device, options: As in :func:`fit_supervised`.
    """
    numbers = asdict(recipe)
    model = fit_supervised(
        model,
        loss,
        iterations,
        seed,
        device,
        rate=recipe.rate,
        schedule=one_cycle,
        ema_decay=recipe.ema_decay,
        clip=1.0,
        data_key=json.dumps([*about.values(), numbers, data_key]),
        **options,
    )
    model.meta |= about | {"recipe": numbers}
    return model


def fit_cnn(
    case: Case,
    iterations: int = 1000,
    seed: int = 0,
    device: str | None = None,
    recipe: Recipe | None = None,
    **options: Any,
) -> nn.Module:
    """A 3D CNN that learns the fine phases of a coarse volume from a truth (the baseline).

    The network is SuperRes's generator without noise and without a critic: what differs is what it
    is asked for, the most likely phase of every voxel (cross-entropy).

    Args:
        case: With a ``truth``; a part that is not judged afterwards.
        iterations, seed, device, options: As in :func:`fit_supervised`.
        recipe: Of the network and its window; None for the laptop profile's.

    Raises:
        ValueError: if the case has no truth or no coarse volume.
    """
    lr, truth = case.lr, case.truth
    if truth is None or lr is None:
        raise ValueError("a CNN learns from pairs: give a case with lr and truth")
    recipe = replace(recipe or Recipe(), noise_channels=0, fine_noise=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, _ = build(case, recipe)
    device = choose_device(device)
    scale = exact_scale(case.scale_factor)
    edge, step = recipe.coarse_window(scale), scale.denominator  # whole fine voxels every `step`
    halo = -(-recipe.halo // step) * step
    inner = (slice(halo, edge + halo),) * 3

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        room = [(n - edge - 2 * halo) // step + 1 for n in lr.shape]
        first = [step * int(torch.randint(0, n, (1,), generator=rng)) for n in room]
        x = lr[tuple(slice(c, c + edge + 2 * halo) for c in first)]
        x = one_hot(x, len(case.lr_phases))[None].to(device)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        fine = [int(scale * c) + int(scale * halo) for c in first]
        wanted = truth[tuple(slice(c, c + recipe.window) for c in fine)]
        logits = network.logits(x, inner, None, inner).float()
        return F.cross_entropy(logits, torch.from_numpy(wanted[None]).long().to(device))

    return fit_supervised(model, loss, iterations, seed, device, **options)
