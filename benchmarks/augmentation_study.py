"""Does augmentation remove the streaks of the electron microscope? On the real files of Case 4.

``python -m benchmarks.augmentation_study`` trains what is missing of the arms, each in about ten
minutes on two quiet cores, and writes ``results/full/case4-ARM-SEED.json`` for chapter 13. A call
that was interrupted goes on at its last checkpoint when it is called again.
"""

from dataclasses import replace
from pathlib import Path

from benchmarks.study import sweep
from srlib import data, datasets, metrics, models, training
from srlib.inference import superres

EDGE = 34  # coarse voxels an edge of the part that is judged: 256 fine ones without the border
LAGS = range(1, 13)
SLICE = 128  # pixels an edge of the slice that is kept, as rows of digits
ARMS = {  # besides "recipe", the shipped weights: augmentation, and changes of the recipe
    "no-augmentation": (False, {}),
    "no-augmentation-no-evenness": (False, {"interface_isotropy_weight": 0.0}),
    "no-evenness": (True, {"interface_isotropy_weight": 0.0}),
}


def judge(model, case: data.Case, seed: int, edge: int = EDGE) -> dict:
    """Curtaining index of the binder at each lag, errors of the output, and a slice of it."""
    lr = case.lr[:edge, :edge, :edge]
    labels = superres.superres(model, lr, seed, progress=False)
    side = min(SLICE, len(labels))
    picture = labels[:side, len(labels) // 2, :side]  # normal to axis 1, z downwards
    reference = metrics.reference_statistics(case.hr)
    return {
        "curtaining": [metrics.curtaining_index(labels, 2, lag) for lag in LAGS],
        "curtaining_image": [metrics.curtaining_index(case.hr[0], 2, lag) for lag in LAGS],
        "volume_fractions": metrics.volume_fractions(labels, 3).tolist(),
        "quality": training.quality(labels, lr[1:-1, 1:-1, 1:-1], case, reference),
        "slice": ["".join(map(str, row)) for row in picture],
    }


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm as :func:`srlib.training.fit_superres` does, and judge what it keeps."""
    case = datasets.load("case4", "real")
    if arm == "recipe":
        model = models.load(f"case4-real-{seed}")
    else:
        turned, changes = ARMS[arm]
        changed = replace(case, augment=(turned,) * 3)
        model = training.fit_superres(changed, "laptop", seed, "cpu", out=work, **changes)
    kept = {k: model.meta[k] for k in ("recipe", "best_iteration", "threads")}
    return judge(model, case, seed) | kept


if __name__ == "__main__":
    sweep(__doc__, "case4", [*ARMS, "recipe"], run, "real", seeds=(0,))
