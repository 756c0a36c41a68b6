"""SuperRes, one change at a time, on an electrode of which every fine voxel is known.

``python -m benchmarks.ablation_study`` trains what is missing of the tables in chapters 20 to 25,
each arm and seed in five to ten minutes on one core (on a GPU if there is one), and writes
``results/full/ablation-ARM-SEED.json``. An arm that was interrupted goes on at its last
checkpoint, or starts anew.

All arms train on the same coarse volume and are judged on the same part of it, of which the CNN has
seen nothing: it learns from the other half.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from tqdm.std import tqdm

from benchmarks import ablation_judge
from benchmarks.study import sweep
from srlib import data, datasets, models, training
from srlib.inference import superres
from srlib.physics import downsampling

LONG = {"iterations": 3000}  # where the volumes are to be looked at
SEEN = 136  # fine planes from which on the CNN learns
SIDE = 64  # pixels an edge of a small fine image
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def same(case: data.Case) -> data.Case:
    """No change."""
    return case


def scaled(scale: float) -> Callable:
    """The coarse volume of another microscope."""

    def change(case: data.Case) -> data.Case:
        lr = downsampling.simulate_lr(case.truth, scale, phase=1)["lr"]
        return replace(case, lr=lr, scale_factor=scale)

    return change


def alone(case: data.Case, hr: list) -> data.Case:
    """Other fine images; as much active material as in the scan, since one image may be off."""
    return replace(case, hr=hr, fractions=datasets.as_in_the_scan(case.lr, hr[0]))


def image(edge: int, plain: bool = False) -> Callable:
    """A square of one image instead of nine whole images."""

    def change(case: data.Case) -> data.Case:
        hr = [case.hr[4][:edge, :edge].copy()]
        return alone(replace(case, augment=(False,) * 3 if plain else None), hr)

    return change


def tiles(case: data.Case) -> data.Case:
    """One image, cut into squares."""
    image = case.hr[4]
    places = [(y, x) for y in range(0, len(image), SIDE) for x in range(0, len(image), SIDE)]
    return replace(case, hr=[image[y : y + SIDE, x : x + SIDE].copy() for y, x in places])


def biased(rank: float) -> Callable:
    """The square whose share of binder, among what is not active, has a rank of 0 to 1."""

    def change(case: data.Case) -> data.Case:
        squares = [
            image[y : y + 96, x : x + 96]
            for image in case.hr
            for y in range(0, 161, 32)
            for x in range(0, 161, 32)
        ]
        squares.sort(key=lambda s: (s == 2).sum() / (s != 1).sum())
        return alone(case, [squares[round(rank * (len(squares) - 1))].copy()])

    return change


def coarse(edge: int) -> Callable:
    """A smaller part of the coarse volume to learn from."""
    return lambda case: replace(case, lr=case.lr[:edge, :edge, :edge].copy())


def seen_as(mode: str) -> Callable:
    """The loss of another microscope: the wrong physics."""
    return lambda case: replace(case, mode=mode)


@dataclass(frozen=True)
class Arm:
    """What one arm changes.

    Attributes:
        recipe: Fields of :class:`srlib.training.Recipe`; None for the supervised CNN.
        case: Makes the inputs of this arm of those of the first.
        name: The case.
        source: Of its data: the files of the anode have no truth.
        scale: The scale factor after ``case``.
    """

    recipe: dict | None = field(default_factory=dict)
    case: Callable = same
    name: str = "electrode"
    source: str = "real"
    scale: float = 4


ARMS = {
    "recipe": Arm(),
    "scale-1.6": Arm(LONG, scaled(1.6), scale=1.6),
    "scale-2": Arm(LONG, scaled(2), scale=2),
    "scale-4": Arm(LONG),
    "scale-8": Arm(LONG | {"critic_steps": 5}, scaled(8), scale=8),
    "cnn-1.6": Arm(None, scaled(1.6), scale=1.6),
    "cnn-2": Arm(None, scaled(2), scale=2),
    "cnn-4": Arm(None),
    "cnn-8": Arm(None, scaled(8), scale=8),
    "noise-0": Arm({"noise_channels": 0}),
    "noise-0-long": Arm(LONG | {"noise_channels": 0}),
    "weight-0": Arm({"consistency_weight": 0.0}),
    "weight-0-match-0": Arm({"consistency_weight": 0.0, "real_candidates": 0}),
    "weight-3": Arm({"consistency_weight": 3.0}),
    "weight-300": Arm({"consistency_weight": 300.0}),
    "gate-0": Arm({"consistency_threshold": 0.0}),
    "gate-0.02": Arm({"consistency_threshold": 0.02}),
    "crop-0": Arm({"crop": 0}),
    "blocks-0": Arm({"blocks": 0}),
    "blocks-4": Arm({"blocks": 4}),
    "sampled": Arm(case=seen_as("nearest")),
    "anode": Arm(name="case3", source="twin"),
    "anode-blurred": Arm(case=seen_as("blur"), name="case3", source="twin"),
    "image-1": Arm(case=image(256)),
    "image-1-quarter": Arm(case=image(128)),
    "image-1-sixteenth": Arm(case=image(SIDE)),
    "image-1-sixteenth-plain": Arm(case=image(SIDE, plain=True)),
    "image-1-tiles": Arm(case=tiles),
    "binder-low": Arm(case=biased(0.02)),
    "binder-middle": Arm(case=biased(0.5)),
    "binder-high": Arm(case=biased(0.98)),
    "coarse-32": Arm(case=coarse(32)),
    "coarse-16": Arm(case=coarse(16)),
    "coarse-16-noise-0": Arm({"noise_channels": 0}, coarse(16)),
}
# A network of each is shipped, one of the synthetic electrode too: chapters run without files.
SCALES = (1.6, 2, 4, 8)
SHIPPED = ("recipe", "noise-0-long", *(f"{k}-{s}" for k in ("scale", "cnn") for s in SCALES))
ARMS |= {f"{arm}-twin": replace(ARMS[arm], source="twin") for arm in SHIPPED}


@cache
def known(name: str, source: str) -> data.Case:
    """The inputs of the first arm."""
    return datasets.load(name, source)


def trained(arm: Arm, seed: int, work: Path) -> tuple[torch.nn.Module, list, data.Case]:
    """A network, its critics and its inputs."""
    case = arm.case(known(arm.name, arm.source))
    if arm.recipe is None:
        first = int(SEEN / arm.scale)
        recipe = training.Recipe(width=training.STUDY["width"], window=training.STUDY["window"])
        how = dict(seed=seed, device=DEVICE, out=work / f"{seed}.ckpt", recipe=recipe)
        pairs = replace(case, lr=case.lr[first:], truth=case.truth[SEEN:])
        model = training.fit_cnn(pairs, **how)
        about = {"case": case.name, "source": case.source, "profile": "study", "losses": []}
        about["recipe"] = asdict(recipe)
        model.meta |= about | {"data_sha256": pairs.key()[0], "voxel_nm": case.voxel_nm}
        return model, [], case
    checked = {"validation_size": int(128 / arm.scale)}
    changes = training.laptop_changes(case) | training.STUDY | checked | arm.recipe
    recipe = replace(training.PROFILES["laptop"], **changes)
    trainer = training.SuperResTrainer(case, recipe, seed, torch.device(DEVICE))
    steps = tqdm(range(recipe.iterations), desc=f"{work.name}, seed {seed}", mininterval=5)
    losses = []
    for i in steps:
        losses.append(trainer.step())
        if (i + 1) % recipe.check_every == 0:
            trainer.history.append(trainer.check())
    trainer.model.load_state_dict(trainer.best_weights)
    kept = [{k: step[k] for k in ("voxelwise", "style", "gap")} for step in losses[::20]]
    trainer.seconds = steps.format_dict["elapsed"]
    trainer.model.meta = trainer.fingerprint("study") | {"losses": kept}
    return trainer.model, trainer.critics, case


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with one seed, and judge its averaged weights on the same part as all."""
    how = ARMS[arm]
    model, critics, case = trained(how, seed, work)
    start = known(how.name, how.source)
    judged = case if how.scale != 4 else start
    slab = judged.lr[: int(ablation_judge.SLAB / how.scale)]
    whole = superres.superres(model, slab, seed, crop=0, progress=False)
    values = {
        "change": {} if how.recipe is None else dict(how.recipe),
        "pixels": sum(image.size for image in case.hr),
        "fractions": case.target_fractions().tolist(),
        **ablation_judge.judge(model, judged, whole, seed),
        **ablation_judge.memory(critics, case, start, whole, seed),
        "training_seconds": model.meta["seconds"],
        "losses": model.meta.pop("losses"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
    }
    models.export(model, work / f"{arm}-{seed}.safetensors")
    return values


if __name__ == "__main__":
    sweep(__doc__, "ablation", ARMS, run, lambda arm: ARMS[arm].source)
