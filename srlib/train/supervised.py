"""Training on pairs: what a network should answer is known, so a loss is all it needs."""

import json
import time
from collections.abc import Callable
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
from srlib.train.processes import choose_device
from srlib.train.recipe import Recipe, build

WARMUP = 50  # iterations until the rate is full; it falls to 2 % in the second half


def fit_supervised(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], Tensor],
    iterations: int,
    seed: int = 0,
    device: str | None = None,
    *,
    rate: float = 1e-3,
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
        save_every: Iterations between checkpoints.
        out: File of the checkpoint; a training found there is continued.
        progress: Show a bar with the loss.

    Returns:
        The network in evaluation mode; ``.meta`` holds the losses and where they were made.

    Raises:
        ValueError: if the checkpoint is of another training, or the loss is not finite.
    """
    device = choose_device(device)
    model.to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    key = json.dumps([str(getattr(model, "config", None)), iterations, seed, rate])
    done, seconds, losses = 0, 0.0, []
    path = Path(out) if out else None
    if path and path.exists():
        tensors, meta = checkpoint.read(path)
        if meta.get("key") != key:
            raise ValueError(f"{path} is of another training: choose another file")
        states = checkpoint.unflatten(tensors, meta["rest"])
        model.load_state_dict(states["model"])
        optimiser.load_state_dict(states["optimiser"])
        done, seconds, losses = meta["where"]
    start = time.monotonic() - seconds
    steps = range(done, iterations)
    bar = tqdm(steps, "training", iterations, initial=done, disable=not progress, mininterval=1)
    for i in bar:
        rng = torch.Generator().manual_seed(hash((int(seed), i)) & 0x7FFFFFFF)
        share = min(1.0, (i + 1) / WARMUP, max(0.02, 2 * (1 - i / iterations)))
        optimiser.param_groups[0]["lr"] = rate * share
        with autocast(device):
            value = loss(model, rng)
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()} at iteration {i}: use a smaller rate")
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
        seconds = time.monotonic() - start
        if path and ((i + 1) % save_every == 0 or i + 1 == iterations):
            states = dict(model=model.state_dict(), optimiser=optimiser.state_dict())
            tensors, rest = checkpoint.flatten(**states)
            where = [i + 1, seconds, losses]
            checkpoint.write(path, tensors, {"rest": rest, "key": key, "where": where})
        if i % 50 == 0:
            bar.set_postfix_str(f"loss {sum(losses[-50:]) / len(losses[-50:]):.4f}")
    model.meta = {
        "losses": losses,
        "iterations": iterations,
        "seed": int(seed),
        "seconds": round(seconds, 1),
        "commit": results.commit(),
        "device": str(device),
        "numbers": str(number_format(device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
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
