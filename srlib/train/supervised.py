"""Training on pairs: what a network should answer is known, so a loss is all it needs."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.std import tqdm

from srlib import checkpoint, results
from srlib.data import Case, one_hot
from srlib.degrade import exact_scale
from srlib.precision import autocast, number_format
from srlib.train.processes import choose_device, tiny_is_zero
from srlib.train.recipe import Recipe, build

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
    n: int, shape: tuple[int, int, int], crop: int, rng: torch.Generator
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
        part = (..., slice(top, top + crop), slice(left, left + crop))

        def turned(x: Tensor, turn: int = turn, flip: int = flip) -> Tensor:
            x = torch.rot90(x, turn, (-2, -1))
            return x.flip(-1) if flip else x

        yield k, part, turned


@tiny_is_zero()
def fit_supervised(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], Tensor],
    iterations: int,
    seed: int = 0,
    device: str | None = None,
    *,
    rate: float = 1e-3,
    schedule: Callable[[int, int], float] = plateau,
    average: float = 0.0,
    clip: float | None = None,
    beside: tuple[nn.Module, Callable[[nn.Module, torch.Generator], Tensor]] | None = None,
    about: str = "",
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
        average: Decay of the averaged weights that are returned (EMA); 0 for the last ones.
        clip: Longest gradient of all weights together; None for any.
        beside: A second network and its loss, trained in turn: the critic of a GAN.
        about: What else makes the training, such as its data; checkpoints of others are refused.
        save_every: Iterations between checkpoints.
        out: File of the checkpoint; a training found there is continued.
        progress: Show a bar with the loss.

    Returns:
        The network in evaluation mode; ``.meta`` holds the losses and where they were made.

    Raises:
        ValueError: if the checkpoint is of another training, or the loss is not finite.
    """
    device = choose_device(device)
    networks = {"model": model} | ({"beside": beside[0]} if beside else {})
    losses_of = {"model": loss} | ({"beside": beside[1]} if beside else {})
    for network in networks.values():
        network.to(device).train()
    optimisers = {k: torch.optim.Adam(v.parameters(), rate) for k, v in networks.items()}
    averaged = copy.deepcopy(model).eval() if average else model
    key = json.dumps([str(getattr(model, "config", None)), iterations, seed, rate, about])
    done, seconds, losses = 0, 0.0, {k: [] for k in networks}
    path = Path(out) if out else None
    parts = networks | {f"{k} optimiser": v for k, v in optimisers.items()}
    parts |= {"averaged": averaged} if average else {}
    if path and path.exists():
        tensors, meta = checkpoint.read(path)
        if meta.get("key") != key:
            raise ValueError(f"{path} is of another training: choose another file")
        states = checkpoint.unflatten(tensors, meta["rest"])
        for name, part in parts.items():
            part.load_state_dict(states[name])
        done, seconds, losses = meta["where"]
    start = time.monotonic() - seconds
    steps = range(done, iterations)
    bar = tqdm(steps, "training", iterations, initial=done, disable=not progress, mininterval=1)
    for i in bar:
        rng = torch.Generator().manual_seed(hash((int(seed), i)) & 0x7FFFFFFF)
        for name, network in networks.items():
            optimisers[name].param_groups[0]["lr"] = rate * schedule(i, iterations)
            with autocast(device):
                value = losses_of[name](network, rng)
            if not torch.isfinite(value):
                raise ValueError(f"the loss is {value.item()} at iteration {i}: use a smaller rate")
            optimisers[name].zero_grad()
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimisers[name].step()
            losses[name].append(value.item())
        if average:
            with torch.no_grad():
                for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
                    mean.lerp_(now, 1 - min(average, (1 + i) / (10 + i)))
        seconds = time.monotonic() - start
        if path and ((i + 1) % save_every == 0 or i + 1 == iterations):
            states = {name: part.state_dict() for name, part in parts.items()}
            tensors, rest = checkpoint.flatten(**states)
            where = [i + 1, seconds, losses]
            checkpoint.write(path, tensors, {"rest": rest, "key": key, "where": where})
        if i % 50 == 0:
            shown = losses["model"][-50:]
            bar.set_postfix_str(f"loss {sum(shown) / len(shown):.4f}")
    if average:
        model.load_state_dict(averaged.state_dict())
    model.meta = {
        "losses": losses["model"],
        "iterations": iterations,
        "seed": int(seed),
        "seconds": round(seconds, 1),
        "commit": results.commit(),
        "device": str(device),
        "numbers": str(number_format(device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    if beside:
        model.meta["critic losses"] = losses["beside"]
    return model.eval()


def fit_cnn(
    case: Case,
    iterations: int = 1000,
    seed: int = 0,
    device: str | None = None,
    recipe: Recipe | None = None,
    **how,
) -> nn.Module:
    """A 3D CNN that learns the fine phases of a coarse volume from a truth (the baseline).

    The network is SuperRes's generator without noise and without a critic: what differs is what it
    is asked for, the most likely phase of every voxel (cross-entropy).

    Args:
        case: With a ``truth``; a part that is not judged afterwards.
        iterations, seed, device, how: As in :func:`fit_supervised`.
        recipe: Of the network and its window; None for the laptop profile's.

    Raises:
        ValueError: if the case has no truth or no coarse volume.
    """
    if case.truth is None or case.lr is None:
        raise ValueError("a CNN learns from pairs: give a case with lr and truth")
    recipe = replace(recipe or Recipe(), noise_channels=0, fine_noise=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, _ = build(case, recipe)
    device = choose_device(device)
    scale = exact_scale(case.scale_factor)
    edge, step = recipe.coarse_window(scale), scale.denominator  # whole fine voxels every `step`
    halo = -(-recipe.halo // step) * step
    part = (slice(halo, edge + halo),) * 3

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        room = [(n - edge - 2 * halo) // step + 1 for n in case.lr.shape]
        first = [step * int(torch.randint(0, n, (1,), generator=rng)) for n in room]
        x = case.lr[tuple(slice(c, c + edge + 2 * halo) for c in first)]
        x = one_hot(x, len(case.lr_phases))[None].to(device)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        fine = [int(scale * c) + int(scale * halo) for c in first]
        truth = case.truth[tuple(slice(c, c + recipe.window) for c in fine)]
        logits = network.logits(x, part, None, part).float()
        return F.cross_entropy(logits, torch.from_numpy(truth[None]).long().to(device))

    return fit_supervised(model, loss, iterations, seed, device, **how)
