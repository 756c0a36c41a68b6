"""Signs that a super-resolution has failed (Rock x8: lack of diversity, geometry that drifts).

Each looks at volumes, or images, only, so it can be asked of any network; those that judge answer
with a sentence or None.
The third sign of the paper, memory that does not suffice, is
:func:`srlib.inference.memory.check`, before
anything is allocated.
"""

from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage
from scipy.special import entr

from srlib.metrics import morphology, statistics
from srlib.metrics.checks import check_labels
from srlib.metrics.symmetry import symmetries

LEAST_CHANGED = 0.005  # share of the voxels that another noise must change
LEAST_LEFT = 0.5  # of the share that a phase should have
MOST_SHIFT = 0.25  # coarse voxels; the truth of SY6 has 0.14
LEAST_KEPT = 0.95  # share of the coarse voxels that come back


def diversity(samples: Sequence[np.ndarray]) -> float:
    """Share of the voxels in which two samples differ, mean over all pairs.

    Args:
        samples: Two or more volumes of phases, of one shape, made of one scan with other noise.
    """
    if len(samples) < 2 or len({s.shape for s in samples}) > 1:
        raise ValueError("diversity needs two or more volumes of one shape, made with other noise")
    pairs = [(a, b) for k, a in enumerate(samples) for b in samples[k + 1 :]]
    return float(np.mean([np.mean(a != b) for a, b in pairs]))


def shift(
    sr: np.ndarray, lr: np.ndarray, scale_factor: int, phase: int = 0, least: int = 8
) -> float:
    """How far the bodies of a phase have moved, in coarse voxels.

    For each body of the coarse volume, the centre of its voxels is compared with the centre of the
    fine voxels of that phase inside it. What has left the body is not seen, so a move shows as
    about half of it; but no neighbour is taken for a part of it.

    Args:
        sr: Fine phases ``(s*D, s*H, s*W)``.
        lr: Coarse phases ``(D, H, W)``; the phase has one number in both.
        scale_factor: s, a whole number.
        phase: Which; pore by default.
        least: Coarse voxels of a body that counts.

    Returns:
        Median distance over the bodies. One of which nothing is left counts as moved by its own
        diagonal. NaN if there is no body.
    """
    s = int(scale_factor)
    if lr.ndim != 3:
        raise ValueError(f"the coarse volume is {lr.shape}: give (D, H, W)")
    if sr.shape != tuple(s * n for n in lr.shape):
        raise ValueError(
            f"a fine volume {sr.shape} is not {s} times the coarse one {lr.shape}: cut off what "
            "inference cuts off, one coarse voxel at each face"
        )
    parts, _ = ndimage.label(lr == phase)
    distances = []
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        body = parts[box] == number
        if body.sum() < least:
            continue
        fine = sr[tuple(slice(s * k.start, s * k.stop) for k in box)] == phase
        fine &= np.kron(body, np.ones((s,) * 3, bool))
        if not fine.any():
            distances.append(float(np.linalg.norm(body.shape)))
            continue
        centre = (np.array(ndimage.center_of_mass(fine)) + 0.5) / s - 0.5
        distances.append(float(np.linalg.norm(centre - ndimage.center_of_mass(body))))
    return float(np.median(distances)) if distances else float("nan")


def likeness(
    squares: Sequence[np.ndarray], images: Sequence[np.ndarray], most: int = 16
) -> np.ndarray:
    """How much of a square is somewhere in the images, in any mirror or quarter turn.

    Squares of a network that has learnt its images by heart are in them; others are as alike as
    squares of other images.

    Args:
        squares: Phases ``(E, E)``, N of them.
        images: Phases ``(H, W)`` each, E or larger.
        most: How many squares to look for, those whose phases are most mixed: one of a single
            phase is in every image.

    Returns:
        For each of these the share of the pixels that agree at the best place, 0 to 1.

    Raises:
        ValueError: for no square or no image, what is no 2D label image, or a square larger than
            an image.
    """
    squares, images = ([check_labels(x, (2,)) for x in of] for of in (squares, images))
    if not squares or not images:
        raise ValueError("likeness needs at least one square and one image")
    phases = range(1 + max(int(x.max()) for x in (*squares, *images)))
    shares = np.array([[np.mean(square == p) for p in phases] for square in squares])
    order = np.argsort(-entr(shares).sum(1), kind="stable")
    squares = [squares[k] for k in order[:most]]
    best = np.zeros(len(squares))
    for image in images:
        spectra = [fft.rfft2((image == p).astype(np.float32)) for p in phases]
        overlaps = [_overlap(square, image.shape, spectra) for square in squares]
        best = np.maximum(best, overlaps)
    return best


def _overlap(square: np.ndarray, shape: tuple[int, int], spectra: list[np.ndarray]) -> float:
    """Largest share of a square that agrees with an image of these spectra, a phase each."""
    room = tuple(n - m + 1 for n, m in zip(shape, square.shape, strict=True))
    if min(room) < 1:
        raise ValueError(f"a square {square.shape} does not fit into {shape}")
    best = 0.0
    for turned in symmetries(square):
        parts = [fft.rfft2((turned == p).astype(np.float32), shape) for p in range(len(spectra))]
        both = sum(a * b.conj() for a, b in zip(spectra, parts, strict=True))
        same = fft.irfft2(both, shape)[: room[0], : room[1]]
        best = max(best, float(same.max()) / square.size)
    return best


def collapsed(samples: Sequence[np.ndarray], wanted: np.ndarray) -> str | None:
    """Whether samples are all alike, or have lost a phase.

    Args:
        samples: As in :func:`diversity`.
        wanted: Volume fractions ``(n,)`` that they should have, about.

    Returns:
        What is wrong, or None.
    """
    changed = diversity(samples)
    if changed < LEAST_CHANGED:
        return f"another noise changes {changed:.2%} of the voxels only: the samples are all alike"
    found = morphology.volume_fractions(samples[0], len(wanted))
    for phase, (has, should) in enumerate(zip(found, wanted, strict=True)):
        if has < LEAST_LEFT * should:
            return f"phase {phase} has a share of {has:.3f}, and should have {should:.3f}"
    return None


def drifted(
    sr: np.ndarray,
    lr: np.ndarray,
    scale_factor: int,
    mode: str = "blur",
    phase_map: np.ndarray | None = None,
) -> str | None:
    """Whether a fine volume has left the scan that it was made of.

    Args:
        sr, lr, scale_factor: As in :func:`shift`.
        mode, phase_map: As in :func:`srlib.metrics.consistency`. Phases that the scan mixes up
            should be one in both, see :meth:`srlib.data.case.Case.trusted`.

    Returns:
        What is wrong, or None.
    """
    kept = statistics.consistency(sr, lr, scale_factor, mode, phase_map)
    if kept < LEAST_KEPT:
        return f"{1 - kept:.1%} of the coarse voxels do not come back"
    moved = shift(sr, lr, scale_factor)
    if moved > MOST_SHIFT:
        return f"pores have moved by {moved:.2f} coarse voxels"
    return None
