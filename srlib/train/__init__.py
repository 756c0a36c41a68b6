"""Training: recipes, the adversarial loop, and the two ways to start it."""

import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.std import tqdm

from srlib import memory, metrics
from srlib.data import Case, slice_volume
from srlib.train.adversarial import Trainer
from srlib.train.depth import DEPTH_METHODS, DepthRecipe, Sections, fit_depth
from srlib.train.diffusion import fit_diffusion
from srlib.train.processes import anyone, choose_device, tiny_is_zero
from srlib.train.quality import LIMITS, quality
from srlib.train.recipe import PROFILES, STUDY, Recipe, in_short, laptop_changes
from srlib.train.restoration import METHODS, Pairs, RestorationRecipe, fit_restorer
from srlib.train.segmentation import fit_segmenter, segment
from srlib.train.supervised import fit_cnn, fit_supervised
from srlib.train.synthesis import SynthesisRecipe, fit_stylegan, synthesise

__all__ = [
    "DEPTH_METHODS",
    "LIMITS",
    "METHODS",
    "PROFILES",
    "STUDY",
    "DepthRecipe",
    "Pairs",
    "Recipe",
    "RestorationRecipe",
    "Sections",
    "SynthesisRecipe",
    "Trainer",
    "fit_cnn",
    "fit_depth",
    "fit_diffusion",
    "fit_restorer",
    "fit_segmenter",
    "fit_stylegan",
    "fit_supervised",
    "fit_superres",
    "in_short",
    "laptop_changes",
    "of_training",
    "quality",
    "segment",
    "slice_volume",
    "synthesise",
]


ROOM = 10_000  # bytes for a fine voxel of a window; where there is so much, it fits


def of_training(case: Case, recipe: Recipe, device: str = "cpu") -> int:
    """Peak memory of the first iteration, in bytes: networks, optimisers and all it makes.

    Args:
        case: The inputs; of the volume and the images it reads no more than one window each.
        recipe: Every number of the training.
        device: Where it would run.

    Raises:
        ValueError: if case and recipe do not fit.
    """
    trainer = Trainer(case, recipe, 0, torch.device(device))
    nets = trainer.generator, trainer.ema, *trainer.critics
    held = sum(x.nbytes for net in nets for x in net.state_dict().values())
    return held + memory.peak_bytes(trainer.step)


def _check_memory(trainer: Trainer) -> None:
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


@tiny_is_zero()
def fit_superres(
    case: Case,
    profile: str = "laptop",
    seed: int = 0,
    device: str | None = None,
    seconds: float | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    callback=None,
    **changes,
) -> nn.Module:
    """Train a generator for one case (SuperRes, Algorithm 1).

    The same seed gives the same weights on the same kind of CPU. Under ``torchrun`` every process
    draws its own cubes and gradients are averaged.

    Args:
        case: The inputs, from :func:`srlib.data.load` or made of your own arrays.
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
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if profile == "laptop":
        changes = laptop_changes(case) | changes
    try:
        recipe = replace(PROFILES[profile], **changes)
    except TypeError:
        unknown = sorted(set(changes) - {f.name for f in fields(Recipe)})
        raise ValueError(
            f"a recipe has no {', '.join(unknown)}: see the fields of srlib.train.Recipe"
        ) from None
    device = choose_device(device)
    trainer = Trainer(case, recipe, seed, device)
    _check_memory(trainer)
    reference = metrics.reference_statistics(case.hr, normals=case.normals)
    path = Path(out) / f"{case.name}-{case.source}-{seed}.checkpoint" if out else None
    if path and path.exists():
        trainer.resume(path)
    elif path and trainer.rank == 0:
        trainer.save(path)
    start = time.monotonic() - trainer.seconds
    bar = tqdm(
        total=recipe.iterations,
        initial=trainer.iteration,
        disable=not progress or trainer.rank > 0,
        desc=f"{case.name} ({case.source})",
        mininterval=1,
    )
    losses: list[dict] = []
    done = bool(trainer.history) and trainer.history[-1]["stop"] < recipe.stop_below
    while trainer.iteration < recipe.iterations and not done:
        losses.append(trainer.step())
        bar.update()
        late = seconds is not None and anyone(time.monotonic() - start > seconds, device)
        last = trainer.iteration == recipe.iterations or late
        if trainer.iteration % recipe.check_every and not last:
            continue
        found = trainer.check(reference)
        for k in ("voxelwise", "anchored", "content", "style", "gap", "penalty"):
            if seen := [step[k] for step in losses if k in step]:
                found[k] = float(np.mean(seen))
        found["scores"] = next((s["scores"] for s in reversed(losses) if s["scores"]), [])
        trainer.seconds = found["seconds"] = time.monotonic() - start
        trainer.history.append(found)
        losses = []
        bar.set_postfix_str(
            "fractions "
            + "/".join(f"{v:.3f}" for v in found["volume_fractions"])
            + ", areas "
            + "/".join(f"{v:.4f}" for v in found["interphase_areas"].values())
        )
        if path and trainer.rank == 0:
            trainer.save(path)
        if callback:
            callback(trainer.history)
        done = late or anyone(found["stop"] < recipe.stop_below, device)
    bar.close()
    model = trainer.model
    model.load_state_dict(trainer.best_weights)
    best = {"best_iteration": trainer.best["iteration"], "history": trainer.history}
    model.meta = trainer.about(profile) | best
    return model.eval()
