"""What a training starts from: a coarse volume, fine images, and how they belong together."""

import hashlib
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from srlib.metrics.symmetry import symmetries
from srlib.physics.downsampling import MODES, exact_scale


@dataclass
class Case:
    """A coarse volume, fine images, and what is known about them.

    Attributes:
        name: Short name.
        hr: Fine images, each ``uint8`` ``(H, W)`` with phases 0..n-1; they may differ in size.
        lr: Coarse volume, ``uint8`` ``(D, H, W)`` with phases 0..m-1. None to make volumes from
            noise alone (SliceGAN); m is then 0.
        scale_factor: Fine voxels per coarse voxel edge, or per noise voxel edge.
        phases: Names of the n fine phases.
        lr_phases: Names of the m coarse phases.
        mode: ``"blur"`` (under-resolved) or ``"nearest"`` (under-sampled).
        phase_map: ``(n, m)`` of 0 and 1: which coarse phase each fine phase looks like.
        truth: Fine volume, ``(s*D, s*H, s*W)``, or None.
        normals: Axis (0, 1, 2) normal to each fine image; None for an isotropic material.
        augment: Per axis, whether mirrors and quarter turns of its images are as likely. None for
            yes where ``normals`` is None, and no where it names directions.
        one_sided: Fine material where the coarse volume has pore (phase 0) is no error: it is
            too thin to be seen there (SuperRes, Case 2).
        fractions: Volume fractions that the output should have, ``(n,)``; None for those of the
            fine images (every axis counts alike).
        false_positive_tolerance: Share of the coarse voxels that may look like material in such a
            place, 0 to 1. None for twice what the fine images have more of it than the coarse
            volume: a voxel looks like material when half of it is.
        confused_phases: Two phases, of one number in fine images and coarse volume, that the scan
            takes for each other here and there, and the share of either that is wrong, below 0.5:
            their means count, see :func:`srlib.losses.local_fraction_loss`. None if there are none.
        voxel_nm: Fine voxel edge in nm; None when it is not published.
        source: ``"real"``, ``"twin"`` or ``"user"``.

    Example:
        >>> import numpy as np
        >>> from srlib.data import Case
        >>> from srlib.synthetic import microstructures
        >>> fine = [microstructures.sofc(seed, (64, 64)) for seed in (1, 2)]
        >>> coarse = microstructures.sofc(3, (64, 64, 64))[::4, ::4, ::4]
        >>> names = ["pore", "nickel", "ceramic"]
        >>> mine = Case("mine", fine, coarse, 4, names, names, mode="nearest")
        >>> len(mine.images(0)), mine.target_fractions().round(1).tolist()
        (16, [0.3, 0.4, 0.3])
    """

    name: str
    hr: list[np.ndarray]
    lr: np.ndarray | None
    scale_factor: float
    phases: list[str]
    lr_phases: list[str]
    mode: str = "blur"
    phase_map: np.ndarray | None = None
    truth: np.ndarray | None = None
    normals: list[int] | None = None
    augment: tuple[bool, bool, bool] | None = None
    one_sided: bool = False
    fractions: np.ndarray | None = None
    false_positive_tolerance: float | None = None
    confused_phases: tuple[int, int, float] | None = None
    voxel_nm: float | None = None
    source: str = "user"

    def __post_init__(self) -> None:
        if self.augment is None:
            self.augment = (self.normals is None,) * 3
        exact_scale(self.scale_factor)
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {self.mode!r}")
        self._check_phases()
        self._check_normals()
        n, wanted = len(self.phases), self.target_fractions()
        if wanted.shape != (n,) or not ((wanted > 0).all() and abs(wanted.sum() - 1) < 0.01):
            raise ValueError(f"fractions must be {n} shares above 0 with the sum 1, not {wanted}")
        if self.lr is None:
            self.phase_map = np.zeros((n, 0), np.float32)
            return
        if self.phase_map is None:
            self.phase_map = self._identity()
        self._check_phase_map()
        self._check_tolerances(wanted)

    def _check_phases(self) -> None:
        """Raise what is wrong with images, coarse volume and the names of their phases."""
        n, m = len(self.phases), len(self.lr_phases)
        if n < m:
            raise ValueError(
                f"the fine images have {n} phases and the coarse volume {m}: they must have at "
                "least as many, so merge phases of the coarse volume"
            )
        if not isinstance(self.hr, list | tuple) or not self.hr:
            raise ValueError("hr must be a list of at least one fine image")
        found = [_check_labels(image, n, "fine image", 2, plain=True) for image in self.hr]
        fine = set().union(*found)
        if len(fine) == 1:
            raise ValueError(
                f"the fine images have one phase only ({min(fine)}): there is nothing to learn"
            )
        if self.lr is None and m:
            raise ValueError(
                f"lr_phases are {self.lr_phases} but there is no coarse volume: give lr"
            )
        coarse = [] if self.lr is None else _check_labels(self.lr, m, "coarse volume", 3)
        if len(fine) == n:
            self._warn_of_lacking(found)
        _check_names("phases", "fine image", self.phases, fine)
        _check_names("lr_phases", "coarse volume", self.lr_phases, coarse)

    def _warn_of_lacking(self, found: list[list[int]]) -> None:
        """Warn if an image lacks a phase that another has."""
        lacking = [k for k, has in enumerate(found) if len(has) < len(self.phases)]
        if not lacking:
            return
        first = lacking[0]
        (lacks, *_) = (p for phase, p in enumerate(self.phases) if phase not in found[first])
        others = f", and others lack phases, {len(lacking)} of {len(found)} in all"
        warnings.warn(
            f"fine image {first} has no {lacks!r}{others * (len(lacking) > 1)}: if its file "
            "should have, read every image with read_labels(path, labels=[value of phase 0, "
            "of phase 1, ...])",
            stacklevel=5,
        )

    def _identity(self) -> np.ndarray:
        """The phase map where fine and coarse phases are the same."""
        n, m = len(self.phases), len(self.lr_phases)
        if n != m:
            raise ValueError(
                f"say which of the {m} coarse phases each of the {n} fine phases looks like: "
                f"phase_map, ({n}, {m}) of 0 and 1"
            )
        if set(self.phases) == set(self.lr_phases) and self.phases != self.lr_phases:
            raise ValueError(
                f"lr_phases {self.lr_phases} are phases {self.phases} in another order: name "
                "both in the order of the numbers in their files, and give the phase_map"
            )
        if self.phases != self.lr_phases:
            warnings.warn(
                f"lr_phases {self.lr_phases} are taken for phases {self.phases} in this order: "
                "give them the same names, or a phase_map",
                stacklevel=4,
            )
        return np.eye(n, dtype=np.float32)

    def _check_phase_map(self) -> None:
        n, m = len(self.phases), len(self.lr_phases)
        try:
            self.phase_map = np.asarray(self.phase_map, np.float32)
        except (TypeError, ValueError):
            self.phase_map = np.empty(0)
        if self.phase_map.shape != (n, m) or not (
            np.isin(self.phase_map, (0, 1)).all() and (self.phase_map.sum(1) == 1).all()
        ):
            raise ValueError(f"phase_map must be ({n}, {m}) with exactly one 1 in each row")

    def _check_tolerances(self, wanted: np.ndarray) -> None:
        """Set the tolerance of false positives where it is not given; check what is given."""
        tolerance = self.false_positive_tolerance
        if self.one_sided and tolerance is None:
            assert self.lr is not None and self.phase_map is not None
            material = float(wanted @ (1 - self.phase_map[:, 0]))
            more = material - float((self.lr > 0).mean())
            tolerance = self.false_positive_tolerance = min(1.0, max(0.0, 2 * more))
        if tolerance is not None and not 0 <= tolerance <= 1:
            raise ValueError(
                "false_positive_tolerance is a share of the coarse voxels, 0 to 1, not "
                f"{tolerance!r}"
            )
        if self.confused_phases is not None:
            a, b, wrong = self.confused_phases
            m = len(self.lr_phases)
            if not (a != b and {a, b} <= set(range(m)) and 0 <= wrong < 0.5):
                raise ValueError(
                    f"confused_phases must be two of the {m} coarse phases and a share below 0.5, "
                    f"not {self.confused_phases}"
                )

    def trusted(self, lr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A coarse volume and the phase map, with phases that are mixed up taken for one."""
        assert self.phase_map is not None  # made with the case
        if self.confused_phases is None:
            return lr, self.phase_map
        a, b, _ = self.confused_phases
        merged = self.phase_map.copy()
        merged[:, a] += merged[:, b]
        merged[:, b] = 0
        return np.where(lr == b, a, lr).astype(np.uint8), merged

    def cleaned(self) -> "Case":
        """The case with its scan corrected by vote, see :func:`srlib.data.case.majority_filter`.

        Single voxels may still be wrong, but neither phase is taken for the other more often.
        """
        if self.confused_phases is None or self.lr is None:
            return self
        a, b, wrong = self.confused_phases
        clean = majority_filter(self.lr, (a, b), wrong)
        return replace(self, lr=clean, confused_phases=(a, b, 0.0))

    def _check_normals(self) -> None:
        if self.normals is not None and (
            len(self.normals) != len(self.hr) or set(self.normals) != {0, 1, 2}
        ):
            raise ValueError(
                "normals needs one axis (0, 1 or 2) for each fine image, and each axis at least "
                "once: leave it out for an isotropic material"
            )

    def target_fractions(self) -> np.ndarray:
        """Volume fractions ``(n,)``: ``fractions``, or those of the fine images."""
        if self.fractions is not None:
            return np.asarray(self.fractions, float)
        axes = self.normals or [0] * len(self.hr)
        shares = [np.bincount(i.ravel(), minlength=len(self.phases)) / i.size for i in self.hr]
        return np.average(shares, axis=0, weights=[1 / axes.count(axis) for axis in axes])

    def images(self, axis: int) -> list[np.ndarray]:
        """Fine images for slices normal to ``axis``, with their symmetries where allowed."""
        own = [
            image
            for i, image in enumerate(self.hr)
            if self.normals is None or self.normals[i] == axis
        ]
        turned = self.augment is not None and self.augment[axis]
        return [s for image in own for s in symmetries(image)] if turned else own

    def key(self) -> list:
        """What makes this case another for a training: the hash of its voxels, and the rest."""
        voxels = hashlib.sha256(b"" if self.lr is None else self.lr.tobytes())
        for image in self.hr:
            voxels.update(image.tobytes())
        assert self.phase_map is not None  # made with the case
        how = [self.scale_factor, self.mode, self.phase_map.tolist(), self.normals]
        how += [
            self.one_sided and self.false_positive_tolerance,
            self.augment,
            self.target_fractions().tolist(),
        ]
        how += [list(self.confused_phases)] if self.confused_phases else []
        return [voxels.hexdigest(), how]


def _check_names(what: str, where: str, names: list[str], there: set[int] | list[int]) -> None:
    """Raise a ValueError if a name belongs to a phase that no voxel has."""
    if missing := [name for phase, name in enumerate(names) if phase not in there]:
        raise ValueError(
            f"no voxel of the {where} has phase {names.index(missing[0])}, {missing[0]!r}: name in "
            f"{what} those it has, in the order of their numbers"
        )


def _check_labels(
    labels: np.ndarray, n: int, what: str, ndim: int, plain: bool = False
) -> list[int]:
    """The phases that are there; ``plain`` lets a single one pass."""
    if not isinstance(labels, np.ndarray) or labels.ndim != ndim:
        kind = f"{type(labels).__name__} of shape {getattr(labels, 'shape', 'unknown')}"
        mend = "save the stack as one file of many pages" if ndim == 3 else "take one slice of it"
        raise ValueError(
            f"the {what} must be a numpy array of {ndim} dimensions, not {kind}: {mend}, or see "
            "whether fine and coarse have changed places"
        )
    if labels.size == 0:
        raise ValueError(f"the {what} is empty: its shape is {labels.shape}")
    if labels.dtype != np.uint8:
        raise ValueError(f"the {what} must be uint8 phases, not {labels.dtype}: see encode_labels")
    counts = np.bincount(labels.ravel(), minlength=n)
    found = np.flatnonzero(counts).tolist()
    if max(found) >= n:
        voxels = ", ".join(f"{phase} ({counts[phase]} voxels)" for phase in found)
        raise ValueError(
            f"the {what} has phases {voxels} but only {n} are named: name the others, remove stray "
            "ones, or make phases of grey values by encode_labels"
        )
    if len(found) == 1 and not plain:
        raise ValueError(f"the {what} has one phase only ({found[0]}): there is nothing to learn")
    return found


def majority_filter(
    lr: NDArray[np.uint8], pair: tuple[int, int], wrong: float, sigma: float = 0.9
) -> NDArray[np.uint8]:
    r"""Let its neighbours decide which of two phases each voxel has.

    Noise decides wrongly in single voxels, while what it decides on is larger. So each voxel of
    either phase gets the one that is more frequent around it, with Gaussian weights. The limit is
    set so that either has its true share :math:`(y - \varepsilon) / (1 - 2\varepsilon)`, where
    :math:`y` is what the scan has. Ours: the paper leaves the correction to the network (rock x8).

    Args:
        lr: Phases, ``(D, H, W)``.
        pair: The two phases.
        wrong: Share :math:`\varepsilon` of either that is taken for the other, 0 to below 0.5.
        sigma: Of the weights in voxels: about the size of what the noise decides.

    Returns:
        Phases of the same shape; voxels of other phases are as they were.

    Raises:
        ValueError: if the pair is no pair, or the share or sigma is impossible.
    """
    a, b = pair
    if a == b or not 0 <= wrong < 0.5 or not sigma > 0:
        raise ValueError(
            f"pair must be two phases, wrong a share from 0 to below 0.5 and sigma above 0, not "
            f"{pair}, {wrong} and {sigma}"
        )
    among = (lr == a) | (lr == b)
    if not among.any():
        return lr.copy()
    votes = gaussian_filter((lr == b).astype(np.float32) - (lr == a), sigma)[among]
    share = np.clip(((lr[among] == b).mean() - wrong) / (1 - 2 * wrong), 0, 1)
    out = lr.copy()
    out[among] = np.where(votes > np.quantile(votes, 1 - share), b, a)
    return out
