"""Label images and volumes: checks, matching fields of view, colours, disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from srlib.viz.style import phase_colours


def check_labels(labels: Any, n_phases: int, ndim: int, name: str = "labels") -> np.ndarray:
    """``labels`` as a uint8 array, or one sentence that says what is wrong.

    Args:
        labels: Integers 0 .. ``n_phases`` - 1, array or CPU tensor.
        n_phases: Number of phases.
        ndim: 2 for an image, 3 for a volume.
        name: What to call it in the message.

    Raises:
        ValueError: for another number of dimensions, no voxels, NaN, fractions or unknown labels.
    """
    array = np.asarray(labels)
    if array.ndim != ndim or array.size == 0:
        kind = {2: "an image (rows, columns)", 3: "a volume (z, y, x)"}[ndim]
        raise ValueError(f"{name} has shape {array.shape}; it should be {kind} with voxels in it.")
    if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
        if not (np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all()):
            raise ValueError(f"{name} holds NaN or values that are not numbers; give phase labels.")
        if (array != np.round(array)).any():
            raise ValueError(f"{name} holds fractions; give phase labels 0 .. {n_phases - 1}.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_phases:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} holds the label {wrong}, but the {n_phases} phases are 0 .. {n_phases - 1}."
        )
    return array.astype(np.uint8, copy=False)


def same_field(volume: np.ndarray, sr: np.ndarray, scale_factor: float | None = None) -> np.ndarray:
    """The part of ``volume`` that ``sr`` covers; inference crops one LR voxel off every face.

    Args:
        volume: Coarse labels, or labels as fine as ``sr``.
        sr: Fine labels.
        scale_factor: Fine voxels per coarse voxel edge. None takes all of ``volume`` and asks that
            its edges divide those of ``sr`` by one whole number.

    Raises:
        ValueError: if no crop of equally many coarse voxels from every face fits.
    """
    if scale_factor is None:
        candidates = [(float(round(sr.shape[0] / volume.shape[0])), 0)]
    else:
        crops = range(min(volume.shape) // 2)
        candidates = [(factor, c) for factor in (1.0, float(scale_factor)) for c in crops]
    for factor, crop in candidates:
        inner = volume[(slice(crop, -crop or None),) * volume.ndim]
        if np.allclose(np.multiply(factor, inner.shape), sr.shape, rtol=0, atol=0.999):
            return inner
    hint = "crop one of them" if scale_factor else "pass scale_factor, or crop one of them"
    raise ValueError(
        f"{tuple(volume.shape)} and {tuple(sr.shape)} do not show the same field of view: {hint}."
    )


def centre_crop(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The middle of an image or volume, at most ``shape`` in size."""
    starts = [max(0, (n - want) // 2) for n, want in zip(image.shape, shape, strict=True)]
    return image[tuple(slice(s, s + want) for s, want in zip(starts, shape, strict=True))]


def slice_at(volume: np.ndarray, axis: int, position: float) -> np.ndarray:
    """The slice of ``volume`` normal to ``axis`` at a fraction ``position`` of its depth.

    Raises:
        ValueError: if ``axis`` is not 0, 1 or 2 or ``position`` is outside 0 to 1.
    """
    if axis not in (0, 1, 2) or not 0 <= position <= 1:
        raise ValueError(f"Give axis 0, 1 or 2 and a position 0 to 1, not {axis} and {position}.")
    depth = volume.shape[axis]
    return np.take(volume, min(depth - 1, int(position * depth)), axis=axis)


def in_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey values from -1 to 1 as 0 to 1, and 0 outside of the mask."""
    return np.where(mask, image / 2 + 0.5, 0)


def entropy_map(samples: np.ndarray, n_phases: int) -> np.ndarray:
    """How much several outputs disagree, voxel by voxel.

    Args:
        samples: Labels ``(m, rows, columns)`` of one slice made with ``m`` noises.
        n_phases: Number of phases.

    Returns:
        Entropy in bits ``(rows, columns)``: 0 where all agree, at most ``log2(min(m, n_phases))``
        where all phases come up equally often.

    Raises:
        ValueError: if there are fewer than two samples, or unknown labels.
    """
    samples = check_labels(samples, n_phases, 3, "samples")
    if len(samples) < 2:
        raise ValueError("Disagreement needs at least two samples of the same slice.")
    shares = np.stack([(samples == phase).mean(axis=0) for phase in range(n_phases)])
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=0) + 0.0


def entropy(volumes: Sequence[np.ndarray], n_phases: int) -> np.ndarray:
    """:func:`entropy_map` of every slice of volumes made with different noises, ``(D, H, W)``."""
    slices = zip(*volumes, strict=True)
    return np.stack([entropy_map(np.stack(samples), n_phases) for samples in slices])


def colour_image(
    labels: np.ndarray, phases: Sequence[str], own_phases: Sequence[str] | None, name: str
) -> np.ndarray:
    """Labels as RGB bytes ``(rows, columns, 3)``; a grey image comes back as it is.

    Raises:
        ValueError: if the labels do not fit, or a name of ``own_phases`` is not in ``phases``.
    """
    array = np.asarray(labels)
    if is_grey(array):
        if array.ndim != 2 or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError(f"{name} should be a 2D grey image with values between 0 and 1.")
        return array
    names = list(own_phases or phases)
    array = check_labels(array, len(names), 2, name)
    return palette(phases, own_phases)[array]


def palette(phases: Sequence[str], own_phases: Sequence[str] | None = None) -> np.ndarray:
    """RGB bytes of each label ``(n, 3)``; ``own_phases`` take the colours of their names.

    Raises:
        ValueError: if a name of ``own_phases`` is not in ``phases``.
    """
    colours = np.round(255 * np.array(phase_colours(len(phases)))).astype(np.uint8)
    if own_phases is None:
        return colours
    unknown = [name for name in own_phases if name not in phases]
    if unknown:
        raise ValueError(f"The phase {unknown[0]!r} is not one of {', '.join(phases)}.")
    return colours[[list(phases).index(name) for name in own_phases]]


def check_aspect(image: np.ndarray, finest: np.ndarray, name: str) -> None:
    """Refuse an image whose proportions are not those of ``finest``."""
    if image.ndim != 2 or finest.ndim != 2:
        raise ValueError(f"{name or 'the image'} has shape {image.shape}; give a 2D slice.")
    ratio = image.shape[0] / image.shape[1] * finest.shape[1] / finest.shape[0]
    if abs(ratio - 1) > 0.03:
        raise ValueError(
            f"{name or 'the image'} {image.shape} does not show the same field as {finest.shape}: "
            "crop one of them (viz.same_field, viz.centre_crop)."
        )


def is_grey(image: np.ndarray) -> bool:
    return np.issubdtype(np.asarray(image).dtype, np.floating)
