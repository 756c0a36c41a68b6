"""Whether a coarse volume and fine images belong together, and how.

At most :data:`srlib.data.inspection.MAX_VOXELS` voxels of each are read, from their middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from srlib.data.blur_estimation import WIDTHS, BlurEstimate, estimate_blur
from srlib.data.inspection import MOST_ERROR, TARGET, Finding, kind_of, read_block, voxels
from srlib.metrics.representativeness import covariance, representativeness
from srlib.physics.downsampling import kernel_size, nearest_scale

MOST_MAPS = 5000
CLEARLY = 9.0  # by so much another phase map must fit better, in squared standard errors
OUT_OF_ORDER = 12.0  # what a map is charged whose lowest fine value is not the lowest coarse one
SIMPLER = 0.005  # of a scale factor, so that tiles are multiples of fewer coarse voxels
NO_BLUR = 0.15  # coarse voxels; less cannot be told from single fine voxels


@dataclass(frozen=True)
class PairInspection:
    """How a coarse volume and fine images belong together.

    Attributes:
        scale_factor: Fine voxels per coarse voxel edge, or None if nothing tells.
        phase_map: ``(n, m)`` of 0 and 1: which coarse phase each fine phase looks like; or None.
        mode: ``"blur"`` or ``"nearest"``, or None.
        blur: Of the coarse volume, or None.
        fractions, errors: Of the fine phases, from both weighed by their errors (95 %), ``(n,)``.
        findings: Those of :class:`srlib.data.inspection.Finding`.
    """

    scale_factor: float | None
    phase_map: list[list[int]] | None
    mode: str | None
    blur: BlurEstimate | None
    fractions: list[float]
    errors: list[float]
    findings: list[Finding]

    def worst(self) -> str:
        """``"info"``, ``"warning"`` or ``"error"``."""
        order = ("info", "warning", "error")
        return max((f.severity for f in self.findings), key=order.index, default="info")


def inspect_pair(
    coarse: Any,
    fine: Sequence,
    voxel_size: tuple[float | None, ...] | None = None,
    fine_voxel_sizes: Sequence[tuple[float | None, ...] | None] | None = None,
    scale_factor: float | None = None,
) -> PairInspection:
    """Examine a coarse volume together with fine images of the same material.

    Args:
        coarse: ``(D, H, W)``, anything that has slices.
        fine: Images ``(H, W)`` or stacks ``(D, H, W)``, the same.
        voxel_size: Of the coarse volume in micrometres, None where unknown.
        fine_voxel_sizes: The same for each fine image.
        scale_factor: What the caller takes it to be; checked against the sizes.

    Raises:
        ValueError: if there is no fine image, or one of them holds no numbers.

    Example:
        >>> import numpy as np
        >>> from scipy.ndimage import gaussian_filter
        >>> from srlib.data.pairing import inspect_pair
        >>> rng = np.random.default_rng(1)
        >>> material = gaussian_filter(rng.normal(size=(96, 96, 96)), 2, mode="wrap") > 0.1
        >>> pair = inspect_pair(material[::2, ::2, ::2], [material[5]], (0.8,) * 3, [(0.4, 0.4)])
        >>> pair.scale_factor, pair.phase_map
        (2.0, [[1, 0], [0, 1]])
    """
    if not fine:
        raise ValueError("give at least one fine image")
    sizes: list[tuple[float | None, ...] | None] = [None] * len(fine)
    if fine_voxel_sizes is not None:
        sizes = list(fine_voxel_sizes)
    blocks = [read_block(coarse), *(read_block(image) for image in fine)]
    kinds = [kind_of(block) for block in blocks]
    findings = _about_kinds([k[0] for k in kinds], blocks)
    scale, about = _scale(voxel_size, sizes, scale_factor)
    findings += about
    if "grey" in [k[0] for k in kinds] or any(f.severity == "error" for f in findings):
        return PairInspection(scale, None, None, None, [], [], findings)
    coarse_values = kinds[0][2]
    fine_values = sorted(set().union(*(k[2] for k in kinds[1:])))
    encoded = [np.searchsorted(coarse_values, blocks[0]).astype(np.uint8)]
    encoded += [np.searchsorted(fine_values, block).astype(np.uint8) for block in blocks[1:]]
    findings += _about_phases(fine_values, [k[2] for k in kinds[1:]], coarse_values)
    n, m = len(fine_values), len(coarse_values)
    if n < m or m < 2:
        return PairInspection(scale, None, None, None, [], [], findings)
    seen, seen_errors = _fractions(encoded[:1], m, [_share(coarse, blocks[0])])
    shares = [_share(image, block) for image, block in zip(fine, blocks[1:], strict=True)]
    own, own_errors = _fractions(encoded[1:], n, shares)
    phase_map, about = _phase_map(own, own_errors, seen, seen_errors)
    findings += about
    if phase_map is None:
        return PairInspection(scale, None, None, None, own.tolist(), own_errors.tolist(), findings)
    target = int(np.argmin(np.abs(seen - 0.5)))
    volume = (encoded[0] == target).astype(np.uint8)
    images = [phase_map[:, target].astype(np.uint8)[image] for image in encoded[1:]]
    if scale is None:
        scale, about = _scale_from_structure(images, volume)
    else:
        about = _check_structure(images, volume, scale)
    findings += about
    mode, blur, about = _physics(images, volume, scale)
    findings += about
    lost = _lost_by_blur(encoded[1:], phase_map, blur, scale)
    fractions, errors, about = _weigh(
        own, own_errors, seen, seen_errors, phase_map, lost, shape=fine[0].shape
    )
    findings += about
    return PairInspection(
        scale_factor=scale,
        phase_map=phase_map.astype(int).tolist(),
        mode=mode,
        blur=blur,
        fractions=fractions.tolist(),
        errors=errors.tolist(),
        findings=findings,
    )


def _share(image: Any, block: NDArray) -> float:
    return block.size / float(np.prod(image.shape, dtype=float))


def _about_kinds(kinds: list[str], blocks: list[NDArray]) -> list[Finding]:
    out = []
    if blocks[0].ndim != 3:
        message = f"the coarse input is an image of {blocks[0].shape}, and no volume"
        advice = "give the volume first, and save a stack as one file of many pages"
        out.append(Finding("order", message, advice, "error"))
    for k, kind in enumerate(kinds[1:], 1):
        if kind != kinds[0]:
            names = ("the coarse volume", f"fine image {k}")
            which, other = names if kinds[0] == "grey" else names[::-1]
            message = f"{which} is grey, but {other} has phases"
            advice = f"segment {which} first, with srlib segment"
            out.append(Finding("kind", message, advice, "error"))
    return out


def _known(size: tuple[float | None, ...] | None) -> tuple[float, ...] | None:
    """A voxel size, if it is known along all axes."""
    return tuple(v for v in size if v) if size is not None and all(size) else None


def _scale(
    coarse: tuple[float | None, ...] | None,
    fine: list[tuple[float | None, ...] | None],
    given: float | None,
) -> tuple[float | None, list[Finding]]:
    """The scale factor that the voxel sizes tell, and where they contradict it or each other."""
    known = [edges for size in fine if (edges := _known(size)) is not None]
    cube = _known(coarse)
    if cube is None or not known:
        if given is None:
            return None, []
        return float(given), []
    flat = max(cube) / min(cube)
    if flat > 1.02:
        message = f"coarse voxels are no cubes: {voxels(cube)}"
        advice = "make them cubes with srlib depth, or correct the size in the file"
        return None, [Finding("voxel size", message, advice, "error", {"ratio": flat})]
    edges = [edge for size in known for edge in size[-2:]]
    if max(edges) > 1.02 * min(edges):
        message = f"fine pixels differ: {min(edges):g} to {max(edges):g} um"
        advice = "resample all fine images to squares of one size"
        return None, [Finding("voxel size", message, advice, "error")]
    ratio = float(np.mean(cube) / np.mean(edges))
    numbers = {"ratio": ratio}
    if ratio < 0.99:
        message = f"the first file has the finer voxels: {voxels(cube)} against {edges[0]:g} um"
        advice = "exchange coarse and fine, or correct the sizes in the files"
        return None, [Finding("order", message, advice, "error", numbers)]
    if given is not None and abs(ratio / given - 1) > 0.02:
        message = f"the scale factor {given:g} contradicts the voxel sizes, {ratio:.4g}"
        advice = f"use {ratio:.4g}, or correct the sizes in the files"
        return float(given), [Finding("scale factor", message, advice, "error", numbers)]
    nearest = float(nearest_scale(ratio, SIMPLER))
    if abs(ratio / nearest - 1) < 0.01:
        message = f"the voxel sizes make a scale factor of {nearest:.4g}"
        return nearest, [Finding("scale factor", message, "", "info", numbers)]
    message = (
        f"the voxel sizes make a scale factor of {ratio:.4g}; the nearest that can be made is "
    )
    message += f"{nearest:.4g}"
    advice = f"resample the fine images to {np.mean(cube) / nearest:.4g} um"
    return nearest, [Finding("scale factor", message, advice, "warning", numbers)]


def _about_phases(fine: list[float], each: list[list[float]], coarse: list[float]) -> list[Finding]:
    out = []
    if len(coarse) < 2:
        message = f"the coarse volume has one phase only, {coarse[0]:g}"
        return [Finding("phases", message, "check the file: there is nothing to learn", "error")]
    if len(fine) < len(coarse):
        message = f"the fine images have {len(fine)} phases and the coarse volume {len(coarse)}"
        advice = "merge phases of the coarse volume, or see whether the files changed places"
        out.append(Finding("phases", message, advice, "error"))
    for k, values in enumerate(each, 1):
        lacking = [f"{v:g}" for v in fine if v not in values]
        if lacking:
            message = f"fine image {k} has no phase of value {', '.join(lacking)}, as others have"
            advice = "leave it out, or see whether its phases have other numbers"
            out.append(Finding("phases", message, advice, "warning"))
    return out


def _fractions(images: list[NDArray], n: int, examined: list[float]) -> tuple[NDArray, NDArray]:
    """Fractions of phases in all images together, and their errors (95 %)."""
    weights = np.array([i.size for i in images], float)
    weights /= weights.sum()
    fractions, squares = np.zeros(n), np.zeros(n)
    for image, weight, share in zip(images, weights, examined, strict=True):
        for phase in range(n):
            mask = image == phase
            fractions[phase] += weight * mask.mean()
            if 0 < mask.mean() < 1:
                error = representativeness(mask, TARGET, share).error
                squares[phase] += (weight * error) ** 2
    return fractions, np.sqrt(squares)


def _phase_map(
    own: NDArray, own_errors: NDArray, seen: NDArray, seen_errors: NDArray
) -> tuple[NDArray | None, list[Finding]]:
    """The phase map whose fractions fit best; the identity unless another is clearly better."""
    n, m = len(own), len(seen)
    if m**n > MOST_MAPS:
        return None, [Finding("phase map", f"{n} and {m} phases: too many to propose a map")]
    maps = [p for p in product(range(m), repeat=n) if len(set(p)) == m]
    costs = []
    for choice in maps:
        groups = np.eye(m)[list(choice)]
        error = np.sqrt((own_errors**2) @ groups + seen_errors**2) / 1.96
        cost = float((((own @ groups - seen) / np.hypot(error, 0.02)) ** 2).sum())
        costs.append(cost + OUT_OF_ORDER * (choice[0] != 0))
    order = np.argsort(costs, kind="stable")
    best, identity = maps[order[0]], tuple(range(n))
    numbers = {"map": list(best), "cost": costs[order[0]]}
    if n == m and costs[maps.index(identity)] < costs[order[0]] + CLEARLY:
        return np.eye(n), []
    groups = np.eye(m)[list(best)]
    listed = ", ".join(f"{fine} -> {coarse}" for fine, coarse in enumerate(best))
    if n == m:
        message = f"the phases look exchanged: fractions fit if fine -> coarse is {listed}"
        advice = "name the values of phase 0, 1, ... of each file, or correct one of the files"
        return groups, [Finding("phase map", message, advice, "warning", numbers)]
    alike = [maps[k] for k in order[1:] if costs[k] < costs[order[0]] + CLEARLY]
    message = f"by their fractions, fine phases look like coarse ones so: {listed}"
    if alike:
        others = "; ".join(", ".join(f"{f} -> {c}" for f, c in enumerate(p)) for p in alike[:2])
        message += f" (nearly as well: {others})"
        advice = "say which it is with a phase map"
        numbers["others"] = [list(p) for p in alike]
        return groups, [Finding("phase map", message, advice, "warning", numbers)]
    return groups, [Finding("phase map", message, "", "info", numbers)]


def _loss(values: NDArray, places: NDArray) -> NDArray:
    """Covariance lost at some lags over the variance: the mean of all axes that are long enough."""
    reach = int(np.ceil(places.max()))
    lines = []
    for axis, n in enumerate(values.shape):
        if n <= 2 * reach:
            continue
        most = [0] * values.ndim
        most[axis] = reach
        line = covariance(values, tuple(most)).ravel()[reach:]
        lines.append(1 - np.interp(places, np.arange(reach + 1), line) / line[0])
    return np.mean(lines, 0) if lines else np.full(len(places), np.nan)


def _structure_scale(images: list[NDArray], volume: NDArray) -> float:
    """The scale factor at which the two-point functions agree best; nan if nothing tells."""
    lags = np.arange(2, 5)
    seen = _loss(volume, lags)
    factors = np.geomspace(1, 10, 94)
    cost = np.zeros(len(factors))
    for image in images:
        if image.min() == image.max() or sorted(image.shape)[-2] < 72:
            continue
        values = image[len(image) // 2] if image.ndim == 3 else image
        losses = np.array([_loss(values, lags * s) for s in factors])
        cost += image.size * ((losses - seen) ** 2).sum(1)
    if not np.isfinite(cost).any() or not cost.any():
        return float("nan")
    return float(factors[np.nanargmin(cost)])


def _scale_from_structure(
    images: list[NDArray], volume: NDArray
) -> tuple[float | None, list[Finding]]:
    advice = "write the voxel sizes into the files, or give the scale factor"
    ratio = _structure_scale(images, volume)
    if not np.isfinite(ratio):
        message = "without voxel sizes nothing tells the scale factor"
        return None, [Finding("scale factor", message, advice, "warning")]
    message = f"voxel sizes are unknown; by their structures the scale factor is about {ratio:.2g}"
    simple = min((2.0, 4.0, 8.0), key=lambda s: abs(np.log(s / ratio)))
    if abs(np.log(simple / ratio)) > 0.15:
        simple = float(nearest_scale(ratio, 0.1))
    return simple, [Finding("scale factor", message, advice, "warning", {"ratio": ratio})]


def _check_structure(images: list[NDArray], volume: NDArray, scale: float) -> list[Finding]:
    ratio = _structure_scale(images, volume)
    if not np.isfinite(ratio) or scale / 1.6 < ratio < scale * 1.6:
        return []
    message = f"the scale factor is {scale:.3g}, but by their structures it is about {ratio:.2g}"
    advice = "check the voxel sizes, and whether both show the same material"
    return [Finding("scale factor", message, advice, "warning", {"ratio": ratio})]


def _physics(
    images: list[NDArray], volume: NDArray, scale: float | None
) -> tuple[str | None, BlurEstimate | None, list[Finding]]:
    """Which sampling physics the coarse volume has."""
    if scale is None or scale < 1.2:
        return None, None, []
    try:
        blur = estimate_blur(images, volume, scale)
    except ValueError as error:
        return None, None, [Finding("physics", f"the blur cannot be estimated: {error}")]
    numbers = {"width": blur.width, "low": blur.low, "high": blur.high}
    said = f"{blur.width:.2f} coarse voxels (sd; {blur.low:.2f} to {blur.high:.2f})"
    if blur.high < 2 * NO_BLUR and blur.width < NO_BLUR:
        message = f"the coarse volume is sampled without blur: {said}"
        return "nearest", blur, [Finding("physics", message, "use mode nearest", "info", numbers)]
    if blur.high >= WIDTHS[-1] and blur.low > NO_BLUR:
        message = f"a blur of {said} is more than can be told: the structures of the two differ"
        return "blur", None, [Finding("physics", message, "use mode blur", "info", numbers)]
    fine = float(np.sqrt(max((blur.width * scale) ** 2 - 0.25, 0.01)))
    numbers |= {"sigma": fine, "size": max(2 * int(np.ceil(2.5 * fine)) + 1, kernel_size(scale))}
    message = f"the coarse volume is blurred by {said}, sigma {fine:.1f} fine voxels"
    if blur.low < NO_BLUR:
        mode = "blur" if blur.width >= NO_BLUR else "nearest"
        message = f"blur cannot be told from none: {said}"
        advice = f"choose by how it was measured; else mode {mode}"
        return mode, blur, [Finding("physics", message, advice, "info", numbers)]
    return "blur", blur, [Finding("physics", message, "use mode blur", "info", numbers)]


def _lost_by_blur(
    images: list[NDArray], phase_map: NDArray, blur: BlurEstimate | None, scale: float | None
) -> NDArray:
    r"""Factor on the fraction of each coarse phase that blur and cut at one half make.

    Found on the fine images, and squared: to first order a surface moves with both of its
    curvatures, an outline with one. By :math:`M_V = 2\pi\chi_A` (integral of mean curvature of a
    volume, Euler number of its sections) the change in a volume is twice that in its sections.
    """
    m = phase_map.shape[1]
    if blur is None or scale is None or blur.low < NO_BLUR:
        return np.ones(m)
    before, after = np.zeros(m), np.zeros(m)
    for image in images:
        planes = image if image.ndim == 3 else image[None]
        for plane in planes[:: max(1, len(planes) // 8)]:
            for phase in range(m):
                mask = phase_map[:, phase].astype(np.float32)[plane]
                before[phase] += mask.mean()
                after[phase] += (gaussian_filter(mask, blur.width * scale) > 0.5).mean()
    return np.clip(after / np.maximum(before, 1e-9), 0.3, 3.0) ** 2


def _weigh(
    own: NDArray,
    own_errors: NDArray,
    seen: NDArray,
    seen_errors: NDArray,
    phase_map: NDArray,
    lost: NDArray,
    shape: tuple[int, ...],
) -> tuple[NDArray, NDArray, list[Finding]]:
    """Fractions of fine phases from both witnesses, by the inverse of their squared errors."""
    fine, fine_errors = own @ phase_map, np.sqrt((own_errors**2) @ phase_map)
    corrected = seen / lost
    corrected /= corrected.sum()
    if np.abs(corrected - fine).max() > np.abs(seen - fine).max():
        corrected = seen  # the blur does not explain why they differ
    correction = np.abs(corrected - seen)
    coarse_errors = np.hypot(seen_errors, 0.5 * correction)
    weight = 1 / np.maximum(fine_errors, 1e-9) ** 2
    weight = weight / (weight + 1 / np.maximum(coarse_errors, 1e-9) ** 2)
    both = weight * fine + (1 - weight) * corrected
    both /= both.sum()
    both_errors = 1 / np.sqrt(
        1 / np.maximum(fine_errors, 1e-9) ** 2 + 1 / np.maximum(coarse_errors, 1e-9) ** 2
    )
    group = phase_map.argmax(1)
    within = own / np.maximum(fine[group], 1e-9)
    fractions = within * both[group]
    alone = phase_map.sum(0)[group] == 1
    errors = np.where(alone, both_errors[group], np.hypot(own_errors, within * both_errors[group]))
    off = fine / np.maximum(corrected, 1e-9) - 1
    worst = int(np.abs(off).argmax())
    chance = abs(fine[worst] - corrected[worst]) <= np.hypot(
        fine_errors[worst], coarse_errors[worst]
    )
    numbers = {
        "phase": worst,
        "fine": float(fine[worst]),
        "coarse": float(corrected[worst]),
        "fine_error": float(fine_errors[worst]),
        "coarse_error": float(coarse_errors[worst]),
        "combined": float(both[worst]),
        "fractions": fractions.round(5).tolist(),
    }
    known = "" if correction.max() < 0.005 else ", corrected for the blur"
    message = (
        f"coarse phase {worst}: {fine[worst]:.3f} +- {fine_errors[worst]:.3f} in the fine images, "
        f"{corrected[worst]:.3f} +- {coarse_errors[worst]:.3f} in the volume{known}"
    )
    listed = ", ".join(f"{f:.3f}" for f in fractions)
    if abs(off[worst]) > MOST_ERROR or not chance:
        reason = "as chance may have it" if chance else "more than chance explains"
        better = "volume" if coarse_errors[worst] < fine_errors[worst] else "fine image"
        message += f": {off[worst]:+.0%}, {reason}; the {better} is the better witness"
        advice = f"train with the fractions of both, weighed: {listed}"
        found = Finding("fractions", message, advice, "warning", numbers)
    else:
        found = Finding("fractions", f"{message}: they agree", "", "info", numbers)
    return fractions, errors, [found, _expected(own, own_errors, fractions, errors, shape)]


def _expected(
    own: NDArray, own_errors: NDArray, fractions: NDArray, errors: NDArray, shape: tuple[int, ...]
) -> Finding:
    """What error of the output's fractions to expect before training (FW-07)."""
    alone, both = own_errors / np.maximum(own, 1e-9), errors / np.maximum(fractions, 1e-9)
    phase = int(both.argmax())
    message = f"expect fractions right to {both[phase]:.0%} (95 %, phase {phase}; "
    message += f"{alone.max():.0%} from the fine images alone)"
    numbers = {"from both": both.round(4).tolist(), "from fine images": alone.round(4).tolist()}
    if both[phase] <= MOST_ERROR:
        return Finding("expected error", message, "", "info", numbers)
    times = (both[phase] / TARGET) ** 2
    dims = "x".join(map(str, shape))
    advice = f"for {TARGET:.0%}, take {times:.0f} times as much of fine images as {dims}"
    return Finding("expected error", message, advice, "warning", numbers)
