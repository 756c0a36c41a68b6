"""What every trained restoration network is asked: how sharp, how true, after how many steps."""

from functools import cache

import numpy as np
import torch

from srlib import prepare, restore
from srlib.metrics import grey

STEPS = (1, 2, 4, 7, 8, 10, 12, 20, 50)
EDGES = 40  # of each slice, at most


@cache
def edges(pair: prepare.Pair, part: str) -> list[np.ndarray]:
    """Edges of every slice of a part, the same for all methods."""
    labels = pair.labels[prepare.parts(len(pair.lq))[part]]
    return [grey.find_edges(x, EDGES, k, pair.mask) for k, x in enumerate(labels)]


def row(images: np.ndarray, pair: prepare.Pair, part: str) -> dict:
    """All measures of one part; widths are whole nanometres, None where a fit failed."""
    of = prepare.parts(len(pair.lq))[part]
    arrays = (getattr(pair, name)[of] for name in ("hq", "truth", "labels"))
    found = grey.score(images, *arrays, pair.mask, edges(pair, part))
    found["widths nm"] = [round(w) if np.isfinite(w) else None for w in found["widths nm"]]
    return found


def judge(model: torch.nn.Module, pair: prepare.Pair) -> dict:
    """Measures of a network after each number of steps, on the slices to choose with and to judge.

    Only InDI's network takes more than one step. ``"stopped"`` holds the second reading of the
    paper: an early stop in the longest schedule.
    """
    steps = STEPS if model.meta["method"] == "InDI" else (1,)
    out: dict[str, dict] = {"choose": {}, "judge": {}, "stopped": {}}
    for part in ("choose", "judge"):
        lq = pair.lq[prepare.parts(len(pair.lq))[part]]
        for n in steps:
            if part == "judge" and n == STEPS[-1]:
                for k, images in enumerate(restore.path(model, lq, n), 1):
                    if k in STEPS or k in (30, 40):
                        out["stopped"][k] = row(images, pair, part)
                out[part][n] = out["stopped"][n]
            else:
                out[part][n] = row(restore.restore(model, lq, n), pair, part)
    return out
