"""Phases from grey values, section by section: thresholds, or a forest on painted pixels.

Thresholds are Otsu's (Otsu 1979), one or several; the forest sees grey value, gradient and
curvature of a pixel at several scales (chapters 13 and 34).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from tqdm.std import tqdm

from srlib.data import io
from srlib.data.fill import fill_mask, find_fill, replace_fill, sample_sections
from srlib.inference.journal import Journal
from srlib.metrics.checks import MAX_PHASES

EMPTY = 255  # label of what was not measured
BINS = 256
AT_ONCE = 2**16  # pixels that the forest sees at once
ROWS = 32  # sections between two entries of the journal


@dataclass(frozen=True)
class Segmenter:
    """From a section to its phases.

    Attributes:
        classify: Phases ``uint8`` of a grey section ``(H, W)`` without fill values.
        phases: How many.
        median: Edge of the median filter before it, pixels; 0 for none.
        about: What decides about the phases, for the output and for a call that goes on.
        separation: Otsu's criterion, the share of the variance that the phases explain, or the
            share of painted pixels that trees that have not seen them get right.
        valleys: Of thresholds: how often the grey value of each occurs, over how often the rarer of
            the two phases beside it has its most frequent one; 1 and more is no valley.
    """

    classify: Callable[[np.ndarray], np.ndarray]
    phases: int
    median: int
    about: str
    separation: float
    valleys: tuple[float, ...] = field(default=())

    def __call__(self, section: np.ndarray, fill: tuple[float, ...] = ()) -> np.ndarray:
        """Phases of a section; :data:`EMPTY` where it was not measured."""
        empty = fill_mask(section, fill)
        if empty.all():
            return np.full(section.shape, EMPTY, np.uint8)
        found = self.classify(_smooth(replace_fill(section, empty), self.median))
        found[empty] = EMPTY
        return found


def by_threshold(
    volume: Any, phases: int = 2, median: int = 0, fill: tuple[float, ...] | None = None
) -> Segmenter:
    """Otsu's threshold, or the several of multi-Otsu, from all grey values of a volume.

    Args:
        volume: Grey values ``(D, H, W)``, an array or a file.
        phases: 2 or more; the darkest becomes 0.
        median: Edge of a median filter, 3 or 5 for noisy sections.
        fill: Values that mark what was not measured; None to look for them.

    Raises:
        ValueError: if there are fewer grey values than phases.

    Example:
        >>> import numpy as np
        >>> from srlib.inference.segmentation import by_threshold
        >>> grey = np.where(np.arange(60) < 20, 50.0, 200.0) + np.random.default_rng(0).normal(
        ...     0, 5, (4, 60, 60))
        >>> found = by_threshold(grey)(grey[0])
        >>> bool((found == (np.arange(60) >= 20)).all())
        True
    """
    from skimage.filters import threshold_multiotsu, threshold_otsu

    check_phases(phases)
    fill = find_fill(volume) if fill is None else fill
    counts, centres = _histogram(volume, median, fill)
    if np.count_nonzero(counts) < max(phases, 2):
        raise ValueError(f"there are fewer grey values than {phases} phases: nothing to separate")
    if phases == 2:
        found = [float(threshold_otsu(hist=(counts, centres)))]
    else:
        merged, middles = _coarser(counts, centres, {3: 256, 4: 128}.get(phases, 48))
        found = threshold_multiotsu(classes=phases, hist=(merged, middles)).tolist()
    thresholds = np.array(found) + np.diff(centres[:2])[0] / 2  # between two bins

    def classify(section: np.ndarray) -> np.ndarray:
        return np.digitize(section, thresholds).astype(np.uint8)

    words = ", ".join(f"{t:.6g}" for t in thresholds)
    classes = np.digitize(centres, thresholds)
    about = f"thresholds {words}, median filter {median}"
    found = _separation(counts, centres, classes), _valleys(counts, classes)
    return Segmenter(classify, phases, median, about, *found)


def by_forest(
    volume: Any,
    painted: Any,
    median: int = 0,
    seed: int = 0,
    fill: tuple[float, ...] | None = None,
) -> Segmenter:
    """A random forest that learns from painted pixels; it sees one section at a time.

    Args:
        volume: Grey values ``(D, H, W)``, an array or a file.
        painted: 0 where nothing is painted, 1, 2 ... where phase 0, 1 ... is; the same shape.
        median: As in :func:`by_threshold`.
        seed: Of the trees.
        fill: As in :func:`by_threshold`.

    Raises:
        ValueError: if the paint does not fit, or a phase has fewer than 10 pixels.
    """
    from sklearn.ensemble import RandomForestClassifier

    fill = find_fill(volume) if fill is None else fill
    if tuple(painted.shape) != tuple(volume.shape):
        raise ValueError(
            f"the painted pixels are {tuple(painted.shape)} and the grey volume "
            f"{tuple(volume.shape)}: paint on the volume itself, 0 where nothing is painted"
        )
    rows, labels = [], []
    for section, paint in zip(volume, painted, strict=True):
        section, paint = np.asarray(section), np.asarray(paint)
        if not (paint > 0).any():
            continue
        empty = fill_mask(section, fill)
        chosen = (paint > 0) & ~empty
        rows.append(_features(_smooth(replace_fill(section, empty), median))[chosen])
        labels.append(paint[chosen])
    given = np.concatenate(labels) if labels else np.empty(0, int)
    values, counts = np.unique(given, return_counts=True)
    phases = len(values)
    if phases < 2 or phases > MAX_PHASES or values.tolist() != list(range(1, phases + 1)):
        raise ValueError(
            f"the painted values are {values.tolist()}: paint 2 to {MAX_PHASES} phases with "
            "1, 2, ... and leave 0 where nothing is painted"
        )
    if counts.min() < 10:
        raise ValueError(
            f"only {counts.min()} pixels are painted {values[counts.argmin()]}: paint 10 or more "
            "of each phase"
        )
    options = dict(max_depth=12, min_samples_leaf=3, class_weight="balanced", oob_score=True)
    forest = RandomForestClassifier(30, random_state=seed, **options)
    forest.fit(np.concatenate(rows), given.astype(int) - 1)

    def classify(section: np.ndarray) -> np.ndarray:
        seen = _features(section).reshape(section.size, -1)
        found = [forest.predict(seen[k : k + AT_ONCE]) for k in range(0, len(seen), AT_ONCE)]
        return np.concatenate(found).astype(np.uint8).reshape(section.shape)

    key = hashlib.sha256(np.concatenate(rows).tobytes() + given.tobytes()).hexdigest()[:12]
    about = f"random forest on {len(given)} painted pixels ({key}), seed {seed}, median {median}"
    return Segmenter(classify, phases, median, about, float(forest.oob_score_))


def segment_file(
    segmenter: Segmenter,
    volume: Any,
    out_path: str | Path,
    voxel_size: tuple[float | None, ...] | None = None,
    *,
    fill: tuple[float, ...] | None = None,
    description: str = "",
    progress: bool = True,
) -> np.ndarray:
    """Phases of a volume into a file, section by section; an interrupted call goes on.

    Args:
        segmenter: Of :func:`by_threshold` or :func:`by_forest`.
        volume: Grey values ``(D, H, W)``, an array or a file.
        out_path: Where the phases go, ``uint8``; it appears only when complete.
        voxel_size: For the output, micrometres.
        fill: Values that mark what was not measured, :data:`EMPTY` in the output; None to look.
        description: For the output.
        progress: Show a bar.

    Returns:
        How many voxels each phase has.

    Raises:
        ValueError: if a later run has taken over the same output.
        OSError: if the output cannot be written; what is done is kept for the next call.
    """
    out_path, fill = Path(out_path), find_fill(volume) if fill is None else fill
    key = hashlib.sha256(repr((segmenter.about, fill, volume.shape, description)).encode())
    for section in volume:
        key.update(np.ascontiguousarray(section).data)
    partial, noted = io.beside(out_path)
    journal = Journal(noted, key.hexdigest())
    if not partial.exists():
        journal.done.clear()
    counts = np.zeros(EMPTY + 1, np.int64)
    pieces = list(enumerate(range(0, volume.shape[0], ROWS)))

    def work(out: Any) -> Iterator[int]:
        for number, first in tqdm(pieces, "segmenting", disable=not progress):
            here = slice(first, min(first + ROWS, volume.shape[0]))
            if number in journal.done:
                phases = np.asarray(out[here])
            else:
                phases = np.stack([segmenter(np.asarray(s), fill) for s in volume[here]])
                out[here] = phases
            counts[:] += np.bincount(phases.ravel(), minlength=EMPTY + 1)
            if number not in journal.done:
                yield number

    with io.finishing(out_path, partial, journal):
        if not journal.done:
            io.create(partial, volume.shape, 64, "u1", voxel_size, description)
        out = io.reopen(partial, volume.shape)
        journal.follow(work(out), getattr(out, "flush", None))
    return counts[: segmenter.phases]


def check_phases(phases: int) -> None:
    """Raise a ValueError if so many phases cannot be."""
    if not 2 <= phases <= MAX_PHASES:
        raise ValueError(f"{phases} phases: give 2 to {MAX_PHASES}")


def _smooth(section: np.ndarray, median: int) -> np.ndarray:
    return median_filter(section, median, mode="nearest") if median > 1 else section


def _features(section: np.ndarray) -> np.ndarray:
    from skimage.feature import multiscale_basic_features

    return multiscale_basic_features(section.astype(np.float32), sigma_min=0.5, sigma_max=8)


def _histogram(volume: Any, median: int, fill: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Counts and middles of equal bins over the grey values, the rarest at both ends apart."""
    some = [s[~fill_mask(s, fill)] for s in sample_sections(volume)]
    some = np.concatenate(some)
    if not some.size:
        raise ValueError("the volume holds fill values only: there is nothing to segment")
    low, high = np.percentile(some, [0.1, 99.9]).astype(float)
    if low == high:
        low, high = float(some.min()), float(some.max())
    if volume.dtype.kind in "ui" and high - low < BINS:
        edges = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    else:
        edges = np.linspace(low, high, BINS + 1)
    counts = np.zeros(len(edges) - 1, np.int64)
    for section in volume:
        section = np.asarray(section)
        empty = fill_mask(section, fill)
        if not empty.all():
            seen = _smooth(replace_fill(section, empty), median)[~empty]
            counts += np.histogram(np.clip(seen, edges[0], edges[-1]), edges)[0]
    return counts, (edges[1:] + edges[:-1]) / 2


def _coarser(counts: np.ndarray, centres: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring bins as one, so that there are at most so many: time grows with their power."""
    step = -(-len(counts) // most)
    fill = -len(counts) % step
    width = np.diff(centres[:2])[0]
    merged = np.pad(counts, (0, fill)).reshape(-1, step).sum(1)
    return merged, centres[0] + width * (step - 1) / 2 + width * step * np.arange(len(merged))


def _separation(counts: np.ndarray, centres: np.ndarray, classes: np.ndarray) -> float:
    """Variance between the classes over all of it."""
    share = counts / counts.sum()
    mean = (share * centres).sum()
    between = 0.0
    for k in np.unique(classes):
        part = share[classes == k]
        if part.sum():
            middle = (part * centres[classes == k]).sum() / part.sum()
            between += part.sum() * (middle - mean) ** 2
    return float(between / (share * (centres - mean) ** 2).sum())


def _valleys(counts: np.ndarray, classes: np.ndarray) -> tuple[float, ...]:
    smooth = gaussian_filter1d(counts.astype(float), max(1.0, len(counts) / 100))
    found = []
    for k in range(1, classes.max() + 1):
        at = int((classes < k).sum())
        peaks = [smooth[classes == c].max(initial=0) for c in (k - 1, k)]
        found.append(float(smooth[at - 1 : at + 1].mean() / max(min(peaks), 1e-12)))
    return tuple(found)
