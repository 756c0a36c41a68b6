"""How few facets are enough (SuperRes, section 2.2): fewer images, on the twin of the separator.

``python -m benchmarks.facet_study`` trains what is missing of the table in chapter 11, each arm and
seed in about ten minutes on two quiet cores, and writes ``results/full/facets-ARM-SEED.json``. A
call that was interrupted goes on at its last checkpoint when it is called again.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.study import sweep
from srlib import data, datasets, metrics, models, training
from srlib.inference import interpolation, superres

EDGE = 64  # coarse voxels an edge of the volume that is judged
CUBES = 8  # cubes of 64 voxels in which diffusion is solved
AXES = (0, 1, 2)
FACETS = ((0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5))  # axis they are normal to, and number


@dataclass(frozen=True)
class Arm:
    """What one arm shows to the critics.

    Attributes:
        images: (axis, number of the facet): the critic of that axis sees that facet.
        share: Share of the edge of a facet that is kept, from its first corner.
        change: Other fields of :class:`srlib.data.Case`.
    """

    images: tuple[tuple[int, int], ...] = FACETS
    share: float = 1.0
    change: dict = field(default_factory=dict)

    def case(self, case: data.Case) -> data.Case:
        """The inputs of this arm."""
        facets = [case.hr[i] for _, i in self.images]
        sizes = [[round(self.share * n) for n in image.shape] for image in facets]
        hr = [image[:h, :w].copy() for image, (h, w) in zip(facets, sizes, strict=True)]
        normals = [axis for axis, _ in self.images]
        return replace(
            case, **{"hr": hr, "normals": normals, "false_positive_tolerance": None} | self.change
        )

    def pixels(self, case: data.Case) -> int:
        """Pixels of the different images that the critics see."""
        used = dict(zip((i for _, i in self.images), self.case(case).hr, strict=True))
        return sum(image.size for image in used.values())


ISOTROPIC = {"normals": None, "augment": (True, True, True)}
ARMS = {
    "6": Arm(),  # not trained: the shipped weights
    "4": Arm(((0, 0), (1, 2), (2, 4), (2, 5))),
    "3": Arm(((0, 0), (1, 2), (2, 4))),
    "2": Arm(((0, 0), (1, 0), (2, 4))),  # axes 0 and 1 are declared equal and share a facet
    "1": Arm(((0, 0),), change=ISOTROPIC),  # all axes are declared equal
    "6-quarter": Arm(share=0.5),
    "6-sixteenth": Arm(share=0.25),
    "two-sided": Arm(change={"one_sided": False}),
    "no-limit": Arm(
        change={"false_positive_tolerance": 1.0}
    ),  # the one-sided loss of the public code
    "one-critic": Arm(change=ISOTROPIC),
    "turned": Arm(change={"augment": (True, True, True)}),
}


def describe(labels: np.ndarray, seed: int = 0) -> dict:
    """Fibrils, solid, areas by direction, and transport ``(axes, phases)`` of a volume."""
    cubes = metrics.cube_statistics(labels, CUBES, seed=seed, transport_axes=AXES)
    return {
        "fibrils": float(metrics.thin_parts(labels, 1, (0, 1)).mean()),
        "solid": float(metrics.volume_fractions(labels, 2)[1]),
        "area": metrics.interphase_areas(labels, 2)[0, 1],
        "areas": [metrics.interphase_areas(labels, 2, axis)[0, 1] for axis in AXES],
        "transport": cubes["transport"].mean(0).tolist(),
    }


@cache
def known() -> tuple[data.Case, dict]:
    """The twin, and the same of its truth and of its coarse volume on the fine grid."""
    case = datasets.load("case2", "twin")
    coarse, s = case.lr[:EDGE, :EDGE, :EDGE], case.scale_factor
    part = tuple(slice(s, s * (n - 1)) for n in coarse.shape)
    return case, {
        "truth": describe(case.truth[part]),
        "coarse": describe(interpolation.interpolate(coarse, 2, s, "nearest")[part]),
    }


def judge(model, seed: int) -> dict:
    """An output against the truth: errors, and where its transport is nearer than the coarse."""
    case, yardsticks = known()
    coarse = case.lr[:EDGE, :EDGE, :EDGE]
    labels = superres.superres(model, coarse, seed, progress=False)
    found, truth = describe(labels), yardsticks["truth"]
    off, was = (
        np.abs(np.subtract(one["transport"], truth["transport"]))
        for one in (found, yardsticks["coarse"])
    )
    inner = coarse[1:-1, 1:-1, 1:-1]
    kept = metrics.consistency(labels, inner, case.scale_factor, case.mode, one_sided=True)
    errors = {f"{key}_error": found[key] / truth[key] - 1 for key in ("fibrils", "solid", "area")}
    errors |= {"transport_error": off.tolist(), "nearer": (off < was).tolist(), "lost": 1 - kept}
    return found | errors


def run(arm: str, seed: int, work: Path) -> dict:
    """Train one arm with the recipe of all six facets, and judge what is kept."""
    case, yardsticks = known()
    changed, changes = ARMS[arm].case(case), training.laptop_changes(case)
    if arm == "6":
        model = models.load(f"case2-twin-{seed}")
    else:
        model = training.fit_superres(changed, "laptop", seed, "cpu", out=work, **changes)
    return {
        "images": len({i for _, i in ARMS[arm].images}),
        "pixels": ARMS[arm].pixels(case),
        "critics": 1 if changed.normals is None else 3,
        "averaged": judge(model, seed),
        **yardsticks,
        "iterations": model.meta["recipe"]["iterations"],
        "cubes": CUBES,
        "threads": model.meta["threads"],
    }


if __name__ == "__main__":
    sweep(__doc__, "facets", ARMS, run, "twin")
