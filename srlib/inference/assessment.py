"""How far a super-resolved volume can be believed, in numbers, without a fine volume to compare.

The output is measured beside interpolation, which knows the scan only, and beside the fine images,
which know no place. What differs by more than chance, or changes with the noise, is said in a
sentence.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import nn
from tqdm.std import tqdm

from srlib import metrics
from srlib.data.case import Case
from srlib.inference.interpolation import interpolate
from srlib.inference.memory import tile_edge
from srlib.inference.tiling import check_volume, output_shape, tile_at
from srlib.metrics.representativeness import representativeness
from srlib.physics.downsampling import downsample, exact_scale
from srlib.results import number

LIMITS = {
    "fractions": 0.03,
    "areas": 0.10,
    "s2": 0.004,
    "imprint": 0.10,
    "anisotropy": 0.10,
    "lost": 0.005,
}
"""Errors that a good volume stays below (chapter 12): mean relative errors of fractions and areas,
mean absolute error of two-point functions, imprint of the coarse grid, anisotropy, and share of
the coarse voxels that do not come back."""

SILENT = 0.005
"""Share of the voxels that another noise changes below which the noise says nothing."""

SURE = 1.96
"""Standard errors within which chance stays in 95 % of cases."""

FAR = 3.0
"""Standard deviations of all cubes beyond which the disagreement in one stands out."""

CALIBRATED = {
    "material": "a battery cathode whose fine volume is known",
    "scale_factor": 4,
    "samples": 16,
    "agree": 0.6648819444444445,
    "right": 0.9084789488526577,
    "calibration_error": 0.11430099826388888,
}
"""The level that the noise was calibrated at (chapter 21, real electrode): the share of its voxels
on which all noises agreed, the share of those that were right, and the expected calibration error
of its worst phase."""

BORDER = {
    "outermost": 0.06933363764881743,
    "deeper": 0.006935236291693954,
    "coarse": 4,
    "named": "fourth",
}
"""What a face changed behind the crop (chapter 24, real electrode): shares of the voxels in the
outermost coarse voxel and in the one of this number."""

USUAL = 1500
"""Iterations that ``srlib superres`` trains for; fewer than half are a test of the files."""

_TRANSPORT_EDGE = 96
_WINDOWS = 16
_NAMES = ("output", "interpolation", "fine images")


def assess(
    model: nn.Module,
    case: Case,
    sr: Any = None,
    *,
    samples: int = 5,
    seed: int = 0,
    crop: int = 1,
    edge: int = 192,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure a super-resolved volume beside interpolation and the fine images.

    All but the fractions of the whole is measured in its middle, and the noise is changed there.

    Args:
        model: The trained generator that made, or makes, the volume.
        case: Coarse volume and fine images. For a second volume of the same material, use
            ``dataclasses.replace(case, lr=...)``.
        sr: The volume, phases ``(D, H, W)``: an array, or what is sliced like one (memory map,
            zarr array). None to make the middle of it.
        samples: How many noises, 2 or more; the first is that of ``seed``.
        seed, crop: With which ``sr`` was made.
        edge: Fine voxels an edge of the middle, at most. Time and memory go with its cube.
        progress: Show a bar.

    Returns:
        ``"fractions"`` by phase, ``"areas"`` (shares of voxel faces) by pair of phases and
        ``"specks"`` by phase: each with the numbers of ``"output"``, ``"interpolation"`` and
        ``"fine images"``, and their errors (95 %) under ``"output error"`` and ``"fine images
        error"``. ``"scan"``: fractions of the coarse phases in the scan and as it would see the
        output. ``"two_point"`` and ``"chords"`` by phase: curves over voxels. ``"transport"``:
        effective diffusivity along z, y, x of the middle, and in planes. ``"consistency"``,
        ``"imprint"``, ``"anisotropy"``, ``"slant"``, ``"noise"`` (disagreement), ``"calibration"``;
        ``"iterations"`` of the training, None if the model does not say; ``"volumes"``: what was
        measured; ``"doubts"``: see :func:`doubts`.

    Raises:
        ValueError: if the case has no coarse volume, or model, volume and case do not fit.
    """
    sr, lr = _check(model, case, sr, samples, crop, edge)
    part = _middle(case, lr.shape, crop, edge)
    bar = tqdm(range(samples), desc="noises", disable=not progress)
    made = [_sample(model, lr, seed + k, part, crop) for k in bar if k or sr is None]
    scale = exact_scale(case.scale_factor)
    where = [slice(int(scale * (p.start - crop)), int(scale * (p.stop - crop))) for p in part]
    if sr is not None:
        made.insert(0, np.ascontiguousarray(sr[tuple(where)], np.uint8))
    output, coarse = made[0], np.ascontiguousarray(lr[part])
    volumes = {"output": output, "interpolation": _interpolated(case, lr, part), "coarse": coarse}
    n, shape = len(case.phases), output_shape(model, lr.shape, crop)
    phase_map = np.asarray(case.phase_map)
    found: dict[str, Any] = {
        "phases": list(case.phases),
        "lr_phases": list(case.lr_phases),
        "phase_map": phase_map.tolist(),
        "scale_factor": float(scale),
        "mode": case.mode,
        "seed": seed,
        "iterations": _iterations(model),
        "shape": shape,
        "part": [(w.start, w.stop) for w in where],
        "border": max(0, int(scale * (model.halo - crop))),
        "volumes": volumes,
        "fractions": _fractions(case, volumes, sr),
        "judged_fractions": _fair(case),
        "scan": _scan(case, volumes),
        "areas": _areas(case, volumes),
        "noise": _noise(made, case.phases),
    }
    curves = {k: volumes[k] for k in _NAMES[:2]}
    found["two_point"], found["s2"] = _two_point(case, curves)
    found["chords"], found["specks"] = _by_windows(case, curves)
    found["transport"] = _transport(case, curves, made)
    found["consistency"] = {k: _consistency(case, volumes[k], coarse) for k in _NAMES[:2]}
    grid = scale.numerator
    inner = min(output.shape) > grid > 1
    found["imprint"] = {
        k: metrics.grid_imprint(v, grid) if inner else 0.0 for k, v in curves.items()
    }
    found["anisotropy"] = {k: metrics.anisotropy(v) for k, v in curves.items()}
    found["slant"] = _slants(case, curves)
    truth = None if case.truth is None else case.truth[_of_truth(where, scale, crop)]
    found["calibration"] = _calibration(made, truth, n)
    found["volumes"]["disagreement"] = disagreement(made)
    found["doubts"] = doubts(found)
    return found


def disagreement(samples: Sequence[NDArray]) -> NDArray[np.float32]:
    """Share of the samples that do not have the phase most of them have, voxel by voxel.

    Example:
        >>> import numpy as np
        >>> from srlib.inference.assessment import disagreement
        >>> samples = [np.uint8([[0, 1]]), np.uint8([[0, 2]]), np.uint8([[0, 1]])]
        >>> print(disagreement(samples).round(2))
        [[0.   0.33]]
    """
    n = 1 + max(int(s.max()) for s in samples)
    votes = np.zeros(samples[0].shape, np.uint8)
    for phase in range(n):
        np.maximum(votes, sum((s == phase).astype(np.uint8) for s in samples), votes)
    return (1 - votes / np.float32(len(samples))).astype(np.float32)


def fraction_errors(labels: NDArray | Sequence[NDArray], n_phases: int) -> NDArray:
    """Errors of volume fractions (95 %) by :mod:`srlib.metrics.representativeness`.

    Args:
        labels: Phases, one volume ``(D, H, W)`` or independent images ``(H, W)``.
        n_phases: n.

    Returns:
        ``(n,)``: within what the fraction of the material stays; infinite where it cannot be said.
    """
    arrays = [labels] if isinstance(labels, np.ndarray) else list(labels)
    weights = np.array([a.size for a in arrays]) / sum(a.size for a in arrays)
    out = np.full(n_phases, np.inf)
    for phase in range(n_phases):
        masks = [a == phase for a in arrays]
        if all(0 < np.count_nonzero(m) < m.size for m in masks):
            errors = [representativeness(m).error for m in masks]
            out[phase] = np.sqrt(((weights * errors) ** 2).sum())
    return out


def _check(model: nn.Module, case: Case, sr: Any, samples: int, crop: int, edge: int) -> tuple:
    """The output, or None, and the coarse volume, after checks."""
    if case.lr is None:
        raise ValueError("the case has no coarse volume, so there is nothing to compare with")
    if samples < 2:
        raise ValueError(f"samples is {samples}: two or more noises are needed to see a difference")
    if edge < 32:
        raise ValueError(f"edge is {edge}: measure at least 32 fine voxels an edge")
    check_volume(model, case.lr.shape, crop, None)
    if model.n_lr != len(case.lr_phases):
        raise ValueError(
            f"the model knows {model.n_lr} coarse phases and the case has {len(case.lr_phases)}: "
            "give the model that was trained on this case"
        )
    wanted = output_shape(model, case.lr.shape, crop)
    if sr is not None and tuple(sr.shape) != wanted:
        raise ValueError(
            f"the output is {tuple(sr.shape)}, and this model makes {wanted} of the coarse volume: "
            "give the output of this volume, and the crop that it was made with"
        )
    return sr, case.lr


def _iterations(model: nn.Module) -> int | None:
    """How long a model was trained, where its ``.meta`` says so."""
    recipe = (getattr(model, "meta", None) or {}).get("recipe") or {}
    return recipe.get("iterations")


def _middle(case: Case, shape: tuple, crop: int, edge: int) -> tuple[slice, ...]:
    """Where the middle lies in the coarse volume."""
    scale, parts = exact_scale(case.scale_factor), []
    step = scale.denominator
    for n in shape:
        inner = n - 2 * crop
        size = max(step, min(inner, int(edge / scale)) // step * step)
        start = crop + (inner - size) // 2 // step * step
        parts.append(slice(start, start + size))
    return tuple(parts)


def _sample(model: nn.Module, lr: NDArray, seed: int, part: tuple, crop: int) -> NDArray[np.uint8]:
    """A part of the output with the noise of a seed, exactly as in the whole."""
    scale, whole = exact_scale(model.scale_factor), tile_edge(model)
    step, sizes = scale.denominator, [p.stop - p.start for p in part]
    tile = max(math.ceil(n / math.ceil(n / whole)) for n in sizes)
    tile = -(-tile // step) * step
    out = np.empty([int(scale * n) for n in sizes], np.uint8)
    for corner in product(*(range(p.start, p.stop, tile) for p in part)):
        _, labels = tile_at(model, lr, corner, seed, tile, crop)
        start = [int(scale * (c - p.start)) for c, p in zip(corner, part, strict=True)]
        free = [min(n, o - a) for n, o, a in zip(labels.shape, out.shape, start, strict=True)]
        where = tuple(slice(a, a + n) for a, n in zip(start, free, strict=True))
        out[where] = labels[tuple(slice(n) for n in free)]
    return out


def _interpolated(case: Case, lr: NDArray, part: tuple) -> NDArray[np.uint8]:
    """Linear interpolation, as fine phases: of those that look alike, the most frequent."""
    scale = exact_scale(case.scale_factor)
    step = scale.denominator
    low = [max(p.start - step, 0) for p in part]
    wide = lr[tuple(slice(a, p.stop + step) for a, p in zip(low, part, strict=True))]
    fine = interpolate(
        np.ascontiguousarray(wide), len(case.lr_phases), case.scale_factor, "linear", case.mode
    )
    cut = (
        slice(int(scale * (p.start - a)), int(scale * (p.stop - a)))
        for a, p in zip(low, part, strict=True)
    )
    likely = (case.phase_map * case.target_fractions()[:, None]).argmax(0).astype(np.uint8)
    return likely[fine[tuple(cut)]]


def _fractions(case: Case, volumes: Mapping, sr: Any) -> dict[str, dict[str, float]]:
    n, images = len(case.phases), case.hr
    output = volumes["output"]
    spread = fraction_errors(output, n)
    table = {
        "output": metrics.volume_fractions(output, n),
        "output error": spread,
        "interpolation": metrics.volume_fractions(volumes["interpolation"], n),
        "fine images": case.target_fractions(),
        "fine images error": fraction_errors(images, n),
    }
    if sr is not None and output.size < np.prod(sr.shape):
        counts = np.zeros(n)
        for start in range(0, sr.shape[0], 16):
            counts += np.bincount(np.asarray(sr[start : start + 16]).ravel(), minlength=n)[:n]
        table["output"] = counts / counts.sum()
        table["output error"] = spread * np.sqrt(output.size / np.prod(sr.shape))
    return _rows(case.phases, table)


def _fair(case: Case) -> bool:
    """Whether the fine images have the fractions that the output should have, but for chance."""
    if case.fractions is None:
        return True
    own = dataclasses.replace(case, fractions=None).target_fractions()
    off = np.abs(own - case.target_fractions())
    return bool((off <= fraction_errors(case.hr, len(own)) + 1e-6).all())


def _rows(names: Sequence[str], table: Mapping[str, NDArray]) -> dict[str, dict]:
    return {name: {k: float(v[i]) for k, v in table.items()} for i, name in enumerate(names)}


def _seen(case: Case, labels: NDArray, phase_map: NDArray) -> NDArray:
    """The coarse phases that a scan would see of fine ones."""
    shares = []
    for column in np.asarray(phase_map, np.float32).T:
        mask = torch.from_numpy(column[labels])[None, None]
        shares.append(downsample(mask, case.scale_factor, mode=case.mode)[0, 0].numpy())
    return np.argmax(shares, axis=0)


def _scan(case: Case, volumes: Mapping) -> dict[str, dict[str, float]]:
    m = len(case.lr_phases)
    table = {"scan": np.bincount(volumes["coarse"].ravel(), minlength=m) / volumes["coarse"].size}
    for name in _NAMES[:2]:
        seen = _seen(case, volumes[name], np.asarray(case.phase_map))
        table[name] = np.bincount(seen.ravel(), minlength=m) / seen.size
    return _rows(case.lr_phases, table)


def _consistency(case: Case, labels: NDArray, coarse: NDArray) -> float:
    coarse, phase_map = case.trusted(coarse)
    return metrics.consistency(
        labels, coarse, case.scale_factor, case.mode, phase_map, case.one_sided
    )


def _blocks(labels: NDArray, times: int) -> Iterator[NDArray]:
    """Equal blocks, ``times`` along each axis; what is left over is left out."""
    sizes = [n // times for n in labels.shape]
    for corner in product(range(times), repeat=labels.ndim):
        yield labels[tuple(slice(c * n, (c + 1) * n) for c, n in zip(corner, sizes, strict=True))]


def _areas(case: Case, volumes: Mapping) -> dict[str, dict[str, float]]:
    """Shares of voxel faces between phases; errors by blocks, 8 of a volume and 16 of an image."""
    n = len(case.phases)
    wanted = metrics.reference_statistics(case.hr, n, 1, case.normals)["interphase_areas"]
    pieces = {
        "output error": list(_blocks(volumes["output"], 2)),
        "fine images error": [b for image in case.hr for b in _blocks(image, 4)],
    }
    own = {k: metrics.interphase_areas(volumes[k], n) for k in _NAMES[:2]}
    errors = {k: [metrics.interphase_areas(b, n) for b in blocks] for k, blocks in pieces.items()}
    return {
        f"{case.phases[a]}/{case.phases[b]}": {k: v[a, b] for k, v in own.items()}
        | {"fine images": float(wanted[a, b])}
        | {k: _mean_error([e[a, b] for e in v])[1] for k, v in errors.items()}
        for a, b in wanted
    }


def _mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean of parts of a material, and its error (95 %)."""
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("inf")
    return float(np.mean(values)), SURE * float(spread)


def _two_point(case: Case, volumes: Mapping) -> tuple[dict, dict]:
    """Two-point functions of each phase, and their mean distance from those of the images."""
    n = len(case.phases)
    lag = min([80] + [min(a.shape) - 1 for a in (*case.hr, volumes["output"])])
    wanted = metrics.reference_statistics(case.hr, n, lag, case.normals)
    stats = {k: metrics.reference_statistics(v, n, lag) for k, v in volumes.items()}
    far = {k: metrics.compare(v, wanted, lag)["s2_mean"] for k, v in volumes.items()}
    stats["fine images"] = wanted
    curves = {
        name: {k: np.asarray(s["two_point"][p, p]) for k, s in stats.items()}
        for p, name in enumerate(case.phases)
    }
    return curves, far | {"chance": _two_point_chance(case, volumes["output"], lag)}


def _two_point_chance(case: Case, output: NDArray, lag: int) -> float:
    """Mean difference of two-point functions that chance stays within, by blocks as of areas."""
    squares = []
    for blocks in (list(_blocks(output, 2)), [b for image in case.hr for b in _blocks(image, 4)]):
        reach = min(lag, min(min(b.shape) for b in blocks) - 1)
        stats = [metrics.reference_statistics(b, len(case.phases), reach) for b in blocks]
        curves = np.array([list(s["two_point"].values()) for s in stats])
        squares.append(curves.var(0, ddof=1) / len(blocks))
    reach = min(s.shape[-1] for s in squares)
    return float(SURE * np.sqrt(sum(s[:, :reach] for s in squares)).mean())


def _windows(case: Case, volumes: Mapping) -> dict[str, list[NDArray]]:
    """Squares of one size, of the images and of planes of the volumes in all directions."""
    shapes = [i.shape for i in case.hr] + [v.shape for v in volumes.values()]
    edge = min(min(shape) for shape in shapes)
    each = -(-_WINDOWS // len(case.hr))
    out: dict[str, list[NDArray]] = {"fine images": []}
    for image in case.hr:
        rows, columns = (n // edge for n in image.shape)
        places = list(product(range(rows), range(columns)))
        for k in np.unique(np.linspace(0, len(places) - 1, min(each, len(places))).astype(int)):
            y, x = (edge * i for i in places[k])
            out["fine images"].append(image[y : y + edge, x : x + edge])
    for name, volume in volumes.items():
        planes = [
            volume.take(int((i + 0.5) * volume.shape[axis] / 6), axis)
            for axis in range(3)
            for i in range(6)
        ]
        out[name] = [np.ascontiguousarray(p[:edge, :edge]) for p in planes]
    return out


def _slant(planes: NDArray, phase: int) -> float:
    """Boundary of a phase across one diagonal of planes ``(N, H, W)`` over that across the other,
    as the logarithm; 0 where there is none. Seen at two voxels, as in chapter 24."""
    is_phase = planes == phase
    one = np.mean(is_phase[:, 2:, 2:] != is_phase[:, :-2, :-2])
    other = np.mean(is_phase[:, 2:, :-2] != is_phase[:, :-2, 2:])
    return float(np.log(one / other)) if one and other else 0.0


def _slants(case: Case, volumes: Mapping) -> dict[str, dict[str, Any]]:
    """How much more boundary one diagonal has, in the planes where it is most; 0.1 is 10 %."""
    out = {}
    for p, name in enumerate(case.phases):
        sizes = [i.size for i in case.hr]
        image = np.average([_slant(i[None], p) for i in case.hr], 0, sizes)
        row: dict[str, Any] = {"fine images": float(np.expm1(abs(image)))}
        for k, volume in volumes.items():
            turned = [np.moveaxis(volume, axis, 0) for axis in range(3)]
            slants = [_slant(planes, p) for planes in turned]
            worst = int(np.argmax(np.abs(slants)))
            row[k] = float(np.expm1(abs(slants[worst])))
            if k == "output":
                row["normal"] = "zyx"[worst]
                parts = [_slant(b, p) for b in _blocks(turned[worst], 2)]
                row["chance"] = _mean_error(parts)[1]
        out[name] = row
    return out


def _by_windows(case: Case, volumes: Mapping) -> tuple[dict, dict]:
    """Chord lengths and specks, in squares of one size, as both depend on it."""
    windows = _windows(case, volumes)
    below = max(4, round(float(exact_scale(case.scale_factor)) ** 2))
    chords: dict[str, dict] = {}
    specks: dict[str, dict] = {}
    for p, name in enumerate(case.phases):
        chords[name], row = {}, {"below": float(below)}
        for k, squares in windows.items():
            runs = [metrics.chord_lengths(s, p, axis) for s in squares for axis in (0, 1)]
            weights = [np.count_nonzero(s == p) for s in squares for _ in (0, 1)]
            chords[name][k] = np.average(runs, 0, weights) if any(weights) else np.zeros(2)
            row[k], row[f"{k} error"] = _mean_error([_speck_share(s == p, below) for s in squares])
        specks[name] = row
    return chords, specks


def _speck_share(mask: NDArray, below: int) -> float:
    """Share of an image that lies in bodies smaller than so many pixels."""
    sizes = np.bincount(label(mask)[0].ravel())[1:]
    return float(sizes[sizes < below].sum() / mask.size)


def _transport(case: Case, volumes: Mapping, made: Sequence[NDArray]) -> dict[str, Any]:
    """Effective diffusivity, in the middle of the volumes and in planes beside the fine images."""
    shape = volumes["output"].shape
    size = [min(n, _TRANSPORT_EDGE) for n in shape]
    cut = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, size, strict=True))
    windows = _windows(case, volumes)
    volume: dict[str, dict] = {}
    planes: dict[str, dict] = {}
    for p, name in enumerate(case.phases):
        volume[name] = {
            k: [metrics.transport_efficiency(v[cut], p, axis) for axis in range(3)]
            for k, v in volumes.items()
        }
        others = [metrics.transport_efficiency(v[cut], p, 0) for v in made[1:]]
        volume[name]["over noises"] = float(np.std([volume[name]["output"][0], *others], ddof=1))
        planes[name] = {}
        for k, squares in windows.items():
            flows = [
                float(np.mean([metrics.transport_efficiency(s[None], p, axis) for axis in (1, 2)]))
                for s in squares
            ]
            planes[name][k], planes[name][f"{k} error"] = _mean_error(flows)
    edge = len(windows["output"][0])
    return {"size": size, "volume": volume, "window": edge, "planes": planes}


def _noise(made: Sequence[NDArray], phases: Sequence[str]) -> dict[str, Any]:
    """How much another noise changes, for each phase, and where most."""
    unsure = disagreement(made)
    same, spread = {}, {}
    for p, name in enumerate(phases):
        is_phase = made[0] == p
        kept = [np.mean(v[is_phase] == p) for v in made[1:]] if is_phase.any() else [np.nan]
        same[name] = float(np.mean(kept))
        spread[name] = float(np.std([np.mean(v == p) for v in made], ddof=1))
    cube = max(4, min(32, min(unsure.shape) // 4))
    times = [n // cube for n in unsure.shape]
    whole = unsure[tuple(slice(t * cube) for t in times)] > 0
    means = whole.reshape([k for t in times for k in (t, cube)]).mean((1, 3, 5))
    order = np.argsort(-means, axis=None, kind="stable")[:3]
    places = [np.unravel_index(k, means.shape) for k in order]
    return {
        "samples": len(made),
        "disagree": float(np.mean(unsure > 0)),
        "same": same,
        "fractions_spread": spread,
        "cube": cube,
        "places": [
            {"start": [int(i) * cube for i in at], "disagree": float(means[at])} for at in places
        ],
        "cubes_mean": float(means.mean()),
        "cubes_spread": float(means.std()),
    }


def _of_truth(where: Sequence[slice], scale: Fraction, crop: int) -> tuple[slice, ...]:
    """The same place in a truth, of which nothing was cut off."""
    off = int(scale * crop)
    return tuple(slice(w.start + off, w.stop + off) for w in where)


def _calibration(made: Sequence[NDArray], truth: NDArray | None, n: int) -> dict[str, Any]:
    """How often the noises are right where they agree; of the book where no truth is known."""
    if truth is None:
        return {"measured": False, **CALIBRATED}
    agree = disagreement(made) == 0
    votes = np.stack([np.mean([v == p for v in made], 0) for p in range(n)])
    errors = []
    for p in range(n):
        level = np.rint(votes[p] * len(made)).astype(int).ravel()
        voxels = np.bincount(level, minlength=len(made) + 1)
        true = np.bincount(level, (truth == p).ravel(), len(made) + 1)
        errors.append(np.abs(true - voxels * np.arange(len(made) + 1) / len(made)).sum())
    return {
        "measured": True,
        "samples": len(made),
        "agree": float(agree.mean()),
        "right": float((made[0] == truth)[agree].mean()) if agree.any() else float("nan"),
        "calibration_error": float(max(errors) / truth.size),
    }


def doubts(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Where not to trust a volume: sentences, each of which follows from a number.

    Args:
        found: Of :func:`assess`.

    Returns:
        ``{"about": ..., "says": ..., "kind": ...}`` for each; empty if nothing stands out. Kinds:
        ``"training"`` (too short), ``"wrong"`` (beyond chance or a limit), ``"unsure"`` (what
        cannot be known).
    """
    parts = {
        _doubt_training: "training",
        _doubt_fractions: "wrong",
        _doubt_images: "unsure",
        _doubt_scan: "wrong",
        _doubt_alike: "unsure",
        _doubt_shape: "wrong",
        _doubt_grid: "wrong",
        _doubt_transport: "unsure",
        _doubt_noise: "unsure",
        _doubt_places: "unsure",
    }
    return [
        {"about": about, "says": says, "kind": kind}
        for part, kind in parts.items()
        for about, says in part(found)
    ]


def beyond_chance(row: Mapping[str, float]) -> tuple[float, bool]:
    """How far output and fine images may differ by chance, and whether they differ more."""
    chance = math.hypot(row["output error"], row["fine images error"])
    return chance, abs(row["output"] - row["fine images"]) > chance


def _doubt_training(found: Mapping) -> Iterator[tuple[str, str]]:
    iterations = found["iterations"]
    if iterations is not None and 2 * iterations < USUAL:
        yield (
            "the training",
            f"trained for {iterations} iterations, where {USUAL} are usual: a test of the files, "
            "not a result.",
        )


def _doubt_fractions(found: Mapping) -> Iterator[tuple[str, str]]:
    for name, row in found["fractions"].items():
        chance, beyond = beyond_chance(row)
        should = row["fine images"]
        if beyond:
            yield (
                f"how much {name}",
                f"{name} is {row['output']:.1%} of the output and should be {should:.1%}, as in "
                f"the fine images; by chance they would differ by {chance:.1%} at most.",
            )


def _doubt_images(found: Mapping) -> Iterator[tuple[str, str]]:
    for name, row in found["fractions"].items():
        should, own = row["fine images"], row["fine images error"]
        if own > 0.1 * should:
            yield (
                f"how much {name}",
                f"The fine images are too small to say how much {name} there is: {should:.1%}"
                f"{f' ± {own:.1%}' if own < 1 else ''}. More or larger ones would say.",
            )


def _doubt_scan(found: Mapping) -> Iterator[tuple[str, str]]:
    lost = 1 - found["consistency"]["output"]
    if lost > LIMITS["lost"]:
        yield (
            "the scan",
            f"{lost:.1%} of the coarse voxels do not come back when the output is down-sampled; "
            f"{LIMITS['lost']:.1%} is the limit. The output contradicts the scan there.",
        )
    for name, row in found["scan"].items():
        off = row["output"] / row["scan"] - 1 if row["scan"] else 0.0
        if abs(off) > LIMITS["fractions"]:
            yield (
                f"how much {name}",
                f"Where the scan has {row['scan']:.1%} {name}, it would see {row['output']:.1%} in "
                "the output. The scan is of this very place: believe it, not the output.",
            )


def _doubt_alike(found: Mapping) -> Iterator[tuple[str, str]]:
    alike = np.asarray(found["phase_map"])
    for j, coarse in enumerate(found["lr_phases"]):
        names = [found["phases"][i] for i in np.flatnonzero(alike[:, j])]
        if len(names) > 1:
            both = " and ".join(names)
            named = "" if coarse == both else f", {coarse}"
            yield (
                both,
                f"The scan shows {both} as one phase{named}. How much there is of each comes from "
                "the fine images, and where it lies from the network.",
            )


def _doubt_shape(found: Mapping) -> Iterator[tuple[str, str]]:
    for name, row in found["areas"].items():
        chance, beyond = beyond_chance(row)
        off = row["output"] / row["fine images"] - 1 if row["fine images"] else 0.0
        if found["judged_fractions"] and beyond and abs(off) > LIMITS["areas"]:
            yield (
                f"boundary {name}",
                f"There is {abs(off):.0%} {'more' if off > 0 else 'less'} boundary of {name} than "
                f"in the fine images; up to {chance / row['fine images']:.0%} can be chance.",
            )
    for name, row in found["specks"].items():
        chance, beyond = beyond_chance(row)
        if beyond and row["output"] > row["fine images"]:
            yield (
                f"specks of {name}",
                f"Bodies of {name} of less than {row['below']:.0f} pixels are "
                f"{row['output']:.2%} of a plane of the output and {row['fine images']:.2%} of the "
                f"fine images (up to {chance:.2%} can be chance): do not count them.",
            )
    s2 = found["s2"]
    if found["judged_fractions"] and s2["output"] > max(LIMITS["s2"], s2["chance"]):
        yield (
            "two-point functions",
            f"The two-point functions (curves under Distances) are off by {s2['output']:.4f} on "
            f"average; up to {s2['chance']:.4f} can be chance, and good volumes stay below "
            f"{LIMITS['s2']}.",
        )


def _doubt_grid(found: Mapping) -> Iterator[tuple[str, str]]:
    imprint, turned = found["imprint"]["output"], found["anisotropy"]["output"]
    if imprint > LIMITS["imprint"]:
        yield (
            "the coarse grid",
            "The grid of the coarse voxels shows in the output: the fine planes at one depth "
            f"inside the coarse voxels have {imprint:.0%} more or less boundary than the average "
            "plane. Surfaces and curvatures are not to be trusted.",
        )
    for name, row in found["slant"].items():
        known = max(row["fine images"], row["interpolation"])
        if row["output"] > known + row["chance"]:  # never so in 28 true synthetic volumes
            strong = row["output"] > LIMITS["anisotropy"]
            yield (
                f"rows of {name}",
                f"{name} lies in {'' if strong else 'slightly '}slanted rows: in planes normal to "
                f"{row['normal']} it has {row['output']:.1%} more boundary across one diagonal "
                f"than across the other. In the fine images it is {row['fine images']:.1%}, in the "
                f"interpolated scan {row['interpolation']:.1%}; {row['chance']:.1%} more can be "
                f"chance. {'Its shape is' if strong else 'Directions in it are'} not to be "
                "trusted.",
            )
    scan = found["anisotropy"]["interpolation"]
    if turned > LIMITS["anisotropy"] and turned > 2 * scan:
        yield (
            "direction",
            f"One axis has {turned:.0%} more or less boundary than the mean of the three; in the "
            f"interpolated scan it is {scan:.0%}.",
        )


def _doubt_transport(found: Mapping) -> Iterator[tuple[str, str]]:
    for name, row in found["transport"]["volume"].items():
        ours, plain = (float(np.mean(row[k])) for k in _NAMES[:2])
        if ours == plain == 0:
            yield (
                f"transport through {name}",
                f"{name} does not connect two opposite faces of the measured block, neither in the "
                "output nor in the interpolated scan: a larger block is needed.",
            )
        elif abs(ours - plain) > 0.25 * max(ours, plain):
            yield (
                f"transport through {name}",
                f"The effective diffusivity of {name} is {number(ours)} in the output and "
                f"{number(plain)} by interpolation, so it rests on detail that the network has "
                f"added. Another noise changes it by {number(row['over noises'], 1)}.",
            )


def _doubt_noise(found: Mapping) -> Iterator[tuple[str, str]]:
    noise = found["noise"]
    for name, same in noise["same"].items():
        if same < 0.5:
            yield (
                f"where {name} is",
                f"Where the output has {name}, another noise has it again in {same:.0%} of the "
                "voxels only: single bodies of it are proposals, statistics of it are not.",
            )
    if noise["disagree"] < SILENT:
        yield (
            "the noise",
            f"Another noise changes {noise['disagree']:.2%} of the voxels only, so its agreement "
            "says nothing about what is right.",
        )


def _doubt_places(found: Mapping) -> Iterator[tuple[str, str]]:
    noise = found["noise"]
    limit = max(noise["cubes_mean"] + FAR * noise["cubes_spread"], SILENT)
    offset = [start for start, _ in found["part"]]
    for place in noise["places"]:
        if place["disagree"] > limit:
            at = [a + b for a, b in zip(offset, place["start"], strict=True)]
            ends = [a + noise["cube"] for a in at]
            where = ", ".join(f"{k} {a} to {b}" for k, a, b in zip("zyx", at, ends, strict=True))
            yield (
                "a place",
                f"The noises disagree on {place['disagree']:.0%} of the voxels in the cube {where} "
                f"of the output; {noise['cubes_mean']:.0%} is the mean of such cubes.",
            )
    if found["border"]:
        yield (
            "the border",
            f"Down to {found['border']} voxels below each face the output depends on what lies "
            f"beyond it and was not seen. On {CALIBRATED['material']} that changed "
            f"{BORDER['outermost']:.0%} of the fine voxels in the first coarse voxel below a face "
            f"and {BORDER['deeper']:.1%} of those in the {BORDER['named']} (chapter 24).",
        )
