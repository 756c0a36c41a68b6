"""Does augmentation remove the streaks of the electron microscope? On the real files of Case 4.

``python -m benchmarks.augmentation_study`` trains what is missing of the arms, each in about a
quarter of an hour, and writes ``results/laptop/case4-ARM-SEED.json`` for chapter 13. A call that
was interrupted goes on at its last checkpoint when it is called again.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.std import tqdm

from srlib import data, infer, metrics, models, results, train

ROOT = Path(__file__).resolve().parents[1]
EDGE = 34  # coarse voxels an edge of the part that is judged: 256 fine ones without the border
LAGS = range(1, 13)
SLICE = 128  # pixels an edge of the slice that is kept, as rows of digits
ARMS = {
    "no-augmentation": (False, {}),
    "no-augmentation-no-evenness": (False, {"evenness": 0.0}),
    "no-evenness": (True, {"evenness": 0.0}),
    "recipe": (True, {}),  # not trained: the shipped weights
}


def judge(model, case: data.Case, seed: int, edge: int = EDGE) -> dict:
    """Curtaining index of the binder at each lag, errors of the output, and a slice of it."""
    lr = case.lr[:edge, :edge, :edge]
    labels = infer.superres(model, lr, seed, progress=False)
    side = min(SLICE, len(labels))
    picture = labels[:side, len(labels) // 2, :side]  # normal to axis 1, z downwards
    reference = metrics.reference_statistics(case.hr)
    return {
        "curtaining": [metrics.streaks(labels, 2, lag) for lag in LAGS],
        "curtaining_image": [metrics.streaks(case.hr[0], 2, lag) for lag in LAGS],
        "volume_fractions": metrics.volume_fractions(labels, 3).tolist(),
        "quality": train.quality(labels, lr[1:-1, 1:-1, 1:-1], case, reference),
        "slice": ["".join(map(str, row)) for row in picture],
    }


def run(arm: str, seed: int, work: Path, iterations: int | None = None) -> dict:
    """Train one arm to the end and judge its averaged weights."""
    case = data.load("case4", "real")
    if arm == "recipe":
        model = models.load(f"case4-real-{seed}")
        return {**judge(model, case, seed), "recipe": model.meta["recipe"]}
    turned, changes = ARMS[arm]
    case = replace(case, augment=(turned,) * 3)
    changes = train.laptop_changes(case) | changes
    if iterations:
        changes["iterations"] = iterations
    recipe = replace(train.PROFILES["laptop"], **changes)
    trainer = train.Trainer(case, recipe, seed, torch.device("cpu"))
    path = work / f"case4-{arm}-{seed}.checkpoint"
    if path.exists():
        trainer.resume(path)
    work.mkdir(parents=True, exist_ok=True)
    left = range(trainer.iteration, recipe.iterations)
    for _ in tqdm(left, desc=f"{arm}, seed {seed}", mininterval=5):
        trainer.step()
        if trainer.iteration % recipe.check_every == 0:
            trainer.save(path)
    return {
        **judge(trainer.model, case, seed),
        "recipe": {k: getattr(recipe, k) for k in ("iterations", "evenness", "weight")},
        "augment": turned,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arms", nargs="*", default=list(ARMS), help="all if none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, help="fewer, to try it out")
    parser.add_argument("--out-dir", type=Path, default=ROOT / "results" / "laptop")
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "augmentation_study")
    chosen = parser.parse_args()
    if unknown := set(chosen.arms) - set(ARMS):
        parser.error(f"there is no arm {unknown.pop()}: choose from {', '.join(ARMS)}")
    for seed in chosen.seeds:
        for arm in chosen.arms:
            name, begin = f"case4-{arm}-{seed}", time.perf_counter()
            if (chosen.out_dir / f"{name}.json").exists():
                continue
            values = run(arm, seed, chosen.work, chosen.iterations)
            about = dict(profile="laptop", source="real", seed=seed, device="cpu")
            seconds = time.perf_counter() - begin
            results.write(name, values, **about, seconds=seconds, out_dir=chosen.out_dir)


if __name__ == "__main__":
    main()
