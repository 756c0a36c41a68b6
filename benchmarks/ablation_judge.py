"""What an arm of the ablation study is asked, on a part of the electrode whose voxels are known."""

import numpy as np
import torch
import torch.nn.functional as F

from srlib import data, metrics, training
from srlib.inference import superres

SLAB = 136  # fine planes that are super-resolved; the CNN has learned from the others
CUT = 8  # fine voxels left out at each of its faces
LAGS = 160  # of the two-point functions
PATCH = 24  # pixels an edge of the patches that are looked for in the images
PATCHES = 24


def repeats(model, phase: int, seed: int, edge: int = 20) -> list[float]:
    """How alike an output is to itself some voxels on, where the coarse volume is all pore.

    Returns:
        The correlation of a phase with itself, shifted along an axis, for shifts of 0 voxels to
        three coarse ones; the mean over the axes. 1 is a copy, 0 is no likeness.
    """
    part = np.zeros((edge,) * 3, np.uint8)
    there = (superres.superres(model, part, seed, crop=5, progress=False) == phase).astype(float)
    if not 0 < there.mean() < 1:
        return []
    off, lags = there - there.mean(), range(round(3 * model.scale_factor) + 1)
    shifted = [
        [(np.roll(off, -lag, a) * off).swapaxes(0, a)[: len(off) - lag].mean() for lag in lags]
        for a in range(3)
    ]
    return (np.mean(shifted, 0) / there.var()).tolist()


def judge(model, case: data.Case, whole: np.ndarray, seed: int) -> dict:
    """An output against the truth at the same place, and against itself.

    Args:
        model: The network.
        case: What it was applied to: a coarse volume, its truth, and how it was made.
        whole: The output, of :data:`SLAB` planes.
        seed: Of the noise.
    """
    scale, n = case.scale_factor, len(case.phases)
    slab = case.lr[: int(SLAB / scale)]
    inner = (slice(CUT, -CUT),) * 3
    labels, truth = whole[inner], case.truth[:SLAB][inner]
    exact = metrics.reference_statistics(truth, n, LAGS)
    found = metrics.compare(labels, exact, LAGS)
    ours = metrics.reference_statistics(labels, n, LAGS)
    far = [
        np.abs(ours["two_point"][p][64:] - exact["two_point"][p][64:]) for p in exact["two_point"]
    ]
    cube = (slice(0, 120),) * 3
    transport = [
        [metrics.transport_efficiency(v[cube], p, 0) for p in range(n)] for v in (labels, truth)
    ]
    again = superres.superres(model, slab, seed + 100, crop=int(CUT / scale), progress=False)
    seen = slab[(slice(int(CUT / scale), -int(CUT / scale)),) * 3]
    how = training.quality(labels, seen, case, exact)
    wrong = (whole != case.truth[:SLAB])[:, CUT:-CUT, CUT:-CUT]
    return {
        "accuracy": float((labels == truth).mean()),
        "dice": [
            float(
                2
                * ((labels == p) & (truth == p)).sum()
                / ((labels == p).sum() + (truth == p).sum())
            )
            for p in range(n)
        ],
        "vf": metrics.volume_fractions(labels, n).tolist(),
        "vf_error": found["vf_error"].tolist(),
        "area_error": list(found["area_error"].values()),
        "tpb_error": found["tpb_error"],
        "mean_error": found["mean_error"],
        "s2": found["s2_mean"],
        "s2_far": float(np.mean(far)),
        "transport": transport[0],
        "transport_truth": transport[1],
        "imprint": how["imprint"],
        "anisotropy": how["anisotropy"],
        "lost": how["lost"],
        "differs": float((labels != again).mean()),
        "repeats": repeats(model, n - 1, seed),
        "wrong_by_depth": wrong[::-1].mean((1, 2))[:32].tolist(),
        "phase_by_depth": (whole[:, CUT:-CUT, CUT:-CUT] == n - 1)[::-1].mean((1, 2))[:32].tolist(),
    }


def nearest(patches: np.ndarray, images: list[np.ndarray], n: int) -> float:
    """Largest share of pixels that a patch has in common with any place of the images; the mean."""
    kernels = data.one_hot(patches, n).movedim(0, 1)
    best = [
        F.conv2d(data.one_hot(image.copy(), n)[None], kernels).flatten(2).amax(2)[0]
        for image in images
    ]
    return float(torch.stack(best).amax(0).mean() / PATCH**2)


def memory(critics: list, case: data.Case, known: data.Case, whole: np.ndarray, seed: int) -> dict:
    """Whether a critic knows its images by heart, and whether the generator copies them.

    Both are asked of the images that were seen and of as large squares of the truth that were not.
    """
    rng, n = torch.Generator().manual_seed(seed), len(case.phases)
    image, rows = max(case.hr, key=lambda i: i.size), list(whole[CUT:-CUT:16])
    size = min(image.shape)
    strange = [known.truth[z, :size, :size] for z in (20, 60, 100)]
    patches = data.sample_squares(rows, PATCH, PATCHES, rng)
    found = {"seen": image, "not seen": strange[1]}
    out = {"nearest": {k: nearest(patches, metrics.symmetries(v), n) for k, v in found.items()}}
    if not critics:
        return out
    out["critic"] = {}
    with torch.no_grad():
        for name, squares in {"seen": case.hr, "not seen": strange, "output": rows}.items():
            x = data.one_hot(data.sample_squares(squares, 32, 256, rng), n).movedim(0, 1)
            out["critic"][name] = float(np.mean([c.cpu()(x).mean().item() for c in critics]))
    return out
