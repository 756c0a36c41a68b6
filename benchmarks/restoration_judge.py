"""What every trained restoration network is asked: how sharp, how true, after how many steps."""

from functools import cache

import numpy as np
import torch

from srlib.data import normalization, registration
from srlib.inference import restoration
from srlib.metrics import image_quality, segmentation
from srlib.synthetic import nanoct

STEPS = (1, 2, 4, 7, 8, 10, 12, 20, 50)
FEW = (1, 4, 8)  # where a sweep would take long
CHOICE = (1, 2, 4, 8, 12)  # on the slices to choose with
CALLS = (4, 8, 16, 32, 64, 128, 256)  # of a diffusion
EDGES = 40  # of each slice, at most
UNSEEN = slice(12, 104, 10)  # slices of the second cell


@cache
def edges(pair: nanoct.Pair, part: str) -> list[np.ndarray]:
    """Edges of every slice of a part, the same for all methods."""
    labels = pair.labels[nanoct.parts(len(pair.lq))[part]]
    return [image_quality.find_edges(x, EDGES, k, pair.mask) for k, x in enumerate(labels)]


def row(images: np.ndarray, pair: nanoct.Pair, part: str) -> dict:
    """All measures of one part; widths are whole nanometres, None where a fit failed."""
    of = nanoct.parts(len(pair.lq))[part]
    arrays = (getattr(pair, name)[of] for name in ("hq", "truth", "labels"))
    return _plain(image_quality.score(images, *arrays, pair.mask, edges(pair, part)))


def _plain(found: dict) -> dict:
    found["widths nm"] = [round(w) if np.isfinite(w) else None for w in found["widths nm"]]
    return found


@cache
def unseen() -> list[dict[str, np.ndarray | list]]:
    """Slices of the second cell in its three states: LQ on the truth's grid, truth and edges.

    The known motion puts LQ on the truth, so that no error of a registration is judged.
    """
    found = []
    for state in nanoct.cell(1, (0, 1, 2), hq=False, progress=False):
        lq = registration.apply(nanoct.inner(normalization.upscaled(state.lq)), state.motion)
        mask, labels = normalization.disc(lq.shape[-1]), nanoct.inner(state.labels)[UNSEEN]
        lq = normalization.scaled(lq, normalization.limits(lq, mask))[UNSEEN]
        truth = normalization.scaled(state.grey, nanoct.TRUTH)[UNSEEN]
        places = [image_quality.find_edges(x, EDGES, k, mask) for k, x in enumerate(labels)]
        found.append(dict(lq=lq, truth=truth, labels=labels, mask=mask, edges=places))
    return found


def cracks(images: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> dict[str, int]:
    """Errors of detection of narrow gaps in and between particles."""
    counts = []
    for image, phases in zip(images, labels, strict=True):
        true = segmentation.gaps((phases == 1) | (phases == 2)) & mask
        counts.append(
            segmentation.detection_errors(segmentation.cracks(image, mask), true, least=12)
        )
    return {f"cracks {k}": sum(c[k] for c in counts) for k in counts[0]}


def in_situ(model: torch.nn.Module | None) -> dict:
    """Measures against the truth of the cell that no training saw, by state and steps; None: LQ."""
    steps = (0,) if model is None else FEW if model.meta["method"] == "InDI" else (1,)
    out: dict[str, dict] = {}
    for number, of in enumerate(unseen()):
        rest = of["truth"], of["truth"], of["labels"], of["mask"], of["edges"]
        for n in steps:
            images = restoration.restore(model, of["lq"], n) if model else of["lq"]
            found = _plain(image_quality.score(images, *rest))
            found = {k: v for k, v in found.items() if "HQ" not in k and "band" not in k}
            found |= cracks(images, of["labels"], of["mask"])
            out.setdefault(f"T{number}", {})[n] = found
    return out


def calls(model: torch.nn.Module, pair: nanoct.Pair, slices: int = 4) -> dict:
    """Measures of a diffusion after each number of calls, with fresh noise and without."""
    stop = nanoct.parts(len(pair.lq))["judge"].stop
    of = slice(stop - slices, stop)
    arrays = [getattr(pair, name)[of] for name in ("hq", "truth", "labels")]
    places = edges(pair, "judge")[-slices:]
    return {
        str(eta): {
            n: _plain(
                image_quality.score(
                    restoration.diffuse(model, pair.lq[of], n, 0, eta), *arrays, pair.mask, places
                )
            )
            for n in CALLS
        }
        for eta in (1.0, 0.0)
    }


def judge(model: torch.nn.Module, pair: nanoct.Pair, whole: bool = True) -> dict:
    """Measures of a network after each number of steps, on the slices to choose with and to judge.

    Only InDI's network takes more than one step. ``"stopped"`` holds the second reading of the
    paper: an early stop in the longest schedule. Without ``whole`` there are few numbers of
    steps, on the slices to judge only.
    """
    steps = (STEPS if whole else FEW) if model.meta["method"] == "InDI" else (1,)
    out: dict[str, dict] = {"choose": {}, "judge": {}, "stopped": {}}
    for part in ("choose", "judge") if whole else ("judge",):
        lq = pair.lq[nanoct.parts(len(pair.lq))[part]]
        for n in steps if part == "judge" else [n for n in steps if n in CHOICE]:
            if part == "judge" and n == STEPS[-1]:
                for k, images in enumerate(restoration.path(model, lq, n), 1):
                    if k in STEPS or k in (30, 40):
                        out["stopped"][k] = row(images, pair, part)
                out[part][n] = out["stopped"][n]
            else:
                out[part][n] = row(restoration.restore(model, lq, n), pair, part)
    return out
