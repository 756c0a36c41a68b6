"""SY7, the twin of the silica-filled rubber in the FIB-SEM paper, and other grey stacks for it.

Particles 18.8 nm across fill 16 % of the rubber, at 2 nm a pixel; a section shows them bright,
blurred by the beam, with noise. The paper's volume is not public. Its "Input" row (Table 1) is what
the twin is held to: see chapter 50.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, shift
from tqdm.std import tqdm

from srlib.data.io import find_file
from srlib.synthetic import sandstone
from srlib.synthetic.microstructures import field

VOXEL_NM = 2.0
DIAMETER = 9.4  # voxels: 18.8 nm
FRACTION = 0.16  # of the volume
THRESHOLD = 90  # the grey value from which on a voxel is silica (FIB-SEM, Results)
SHAPE = (256, 256, 256)
OVERLAP = 0.1  # of a particle with those before it, at most: silica is hard
GREYS = {"electrode": (40, 200, 140), "berea": (40, 140)}  # pore, active material, binder; grain


@dataclass(frozen=True)
class Look:
    """How a rubber and its sections differ from plain balls seen by a perfect microscope.

    Attributes:
        spread: Sd of the radius of a particle, as a share of it.
        flat: Sd of the logarithm of its three half axes; 0 for balls.
        contrast: Grey levels between rubber and silica.
        vary: Sd of the contrast of a particle, as a share of it.
        blur: Sigma of the beam, voxels.
        noise: Sd of white noise, grey levels.
        mottle: Sd of noise that is alike over a few pixels of one section, grey levels.
        uneven: Every other step of the mill is shorter by this share, and the next one longer.
        clusters: Sigma in voxels of the field that says where particles are many, and its strength.
    """

    spread: float = 0.12
    flat: float = 0.0
    contrast: float = 116.0
    vary: float = 0.0
    blur: float = 2.25
    noise: float = 0.5
    mottle: float = 0.0
    uneven: float = 0.0
    clusters: tuple[float, float] = (10.0, 0.5)


EASY = Look()
LOOKS = {
    "easy": EASY,
    "milled": replace(EASY, contrast=120.4, blur=2.3, uneven=0.21),
    "harder": replace(
        EASY, contrast=118.4, spread=0.25, flat=0.2, vary=0.15, noise=1.2, mottle=2.0
    ),
}


def stack(
    name: str = "harder",
    seed: int = 0,
    shape: tuple[int, int, int] = SHAPE,
    progress: bool | None = None,
) -> np.ndarray:
    """A grey volume as a microscope would give it, the depth first, with every section there.

    Args:
        name: A twin of :data:`LOOKS`, ``"copolymer"`` or ``"lamellae"``; or the structure of a real
            volume, ``"electrode"`` or ``"berea"``, with the grey values and the microscope of ours.
        seed: Same seed, same volume.
        shape: ``(D, H, W)``; of a real volume its first corner.
        progress: Show a bar; None for only when there is more than a moment's work.

    Returns:
        ``uint8`` grey values; :data:`THRESHOLD` parts silica from rubber, and solid from pore.

    Raises:
        ValueError: for an unknown name, a shape that does not fit, or a file that is not here.
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3 or min(shape) < 8:
        raise ValueError(f"a stack is (D, H, W) of 8 or more, not {shape}")
    if name in LOOKS:
        return imaged(particles(seed, shape, LOOKS[name], progress), LOOKS[name], seed, FRACTION)
    if name in ("copolymer", "lamellae"):
        return imaged(waves(seed, shape, name == "lamellae"), replace(EASY, blur=1.0), seed)
    if name in GREYS:
        grey = np.asarray(GREYS[name], np.float32)[_real(name, shape)]
        look = replace(EASY, contrast=1.0, blur=1.0, noise=1.2)
        return imaged(grey, look, seed, level=THRESHOLD)
    known = ", ".join([*LOOKS, "copolymer", "lamellae", *GREYS])
    raise ValueError(f"there is no stack {name!r}: choose of {known}")


def particles(
    seed: int, shape: tuple[int, int, int], look: Look = EASY, progress: bool | None = None
) -> np.ndarray:
    """Silica in rubber: the share of each voxel, times the relative contrast of its particle.

    Particles are laid one after the other, those left out that would overlap, until the volume is
    full to :data:`FRACTION`.

    Returns:
        ``float32`` of that shape.
    """
    rng, radius = np.random.default_rng([seed, 8]), DIAMETER / 2
    wide = field(tuple(-(-n // 4) + 8 for n in shape), look.clusters[0] / 4, rng)
    chance = np.exp(look.clusters[1] * wide).ravel().cumsum()
    volume, filled, wanted = np.zeros(shape, np.float32), 0.0, FRACTION * np.prod(shape)
    progress = wanted > 5e5 if progress is None else progress
    with tqdm(total=100, desc="particles", disable=not progress) as bar:
        while filled < wanted:
            cell = np.searchsorted(chance, rng.random() * chance[-1])
            place = 4 * (np.array(np.unravel_index(cell, wide.shape)) + rng.random(3)) - 16
            half = radius * max(0.2, 1 + look.spread * rng.standard_normal())
            axes = look.flat * rng.standard_normal(3)
            half = half * np.exp(axes - axes.mean())
            turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
            bright = max(0.2, 1 + look.vary * rng.standard_normal())
            low = np.maximum(np.floor(place - half.max()).astype(int) - 1, 0)
            high = np.minimum(np.ceil(place + half.max()).astype(int) + 2, shape)
            if (low >= high).any():
                continue
            part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            away = np.moveaxis(np.mgrid[part], 0, -1) - place
            share = (1 - np.linalg.norm(away @ turn / half, axis=-1)) * half.mean() + 0.5
            share = np.clip(share, 0, 1)
            if np.minimum(volume[part], share).sum() > OVERLAP * share.sum():
                continue
            filled -= np.minimum(volume[part], 1).sum(dtype=float)
            volume[part] = np.maximum(volume[part], bright * share)
            filled += np.minimum(volume[part], 1).sum(dtype=float)
            bar.update(int(100 * min(1, filled / wanted)) - bar.n)
    return volume


def waves(
    seed: int, shape: tuple[int, int, int], layered: bool, period: float = 14.0, count: int = 120
) -> np.ndarray:
    """A block copolymer: waves of one length, in all directions or all but along the depth.

    Args:
        layered: Lamellae across the depth, so that the material is not the same in all directions.
        period: Voxels of a wave.
        count: Of the waves.

    Returns:
        ``float32`` of mean 0 and sd 1, one block above 0 and the other one below.
    """
    rng = np.random.default_rng([seed, 10])
    towards = rng.standard_normal((count, 3))
    towards[:, 1:] *= 0.15 if layered else 1.0
    towards *= 2 * np.pi / period / np.linalg.norm(towards, axis=1, keepdims=True)
    out = np.zeros(shape, np.float32)
    for (kz, ky, kx), phase in zip(towards, 2 * np.pi * rng.random(count), strict=True):
        parts = (np.exp(1j * k * np.arange(n)) for k, n in zip((kz, ky, kx), shape, strict=True))
        z, y, x = (part.astype(np.complex64) for part in parts)
        plane = (y[:, None] * x)[None]
        out += (z[:, None, None] * np.complex64(np.exp(1j * phase)) * plane).real
    return np.clip(4 * out / out.std(), -1, 1) / 2


def imaged(
    volume: np.ndarray,
    look: Look = EASY,
    seed: int = 0,
    share: float = 0.5,
    level: float | None = None,
) -> np.ndarray:
    """Sections of a volume: blurred, cut, with noise, 8 bits.

    Args:
        volume: ``float32``; its contrast is multiplied by the look's.
        look: Of the sections.
        seed: Of the noise.
        share: Of the voxels that are to have :data:`THRESHOLD` or more.
        level: The value that becomes the threshold; None for the one that ``share`` says.

    Returns:
        ``uint8``, the shape of the volume.
    """
    rng = np.random.default_rng([seed, 9])
    grey = gaussian_filter(volume, look.blur, mode="nearest")
    edge = np.quantile(grey, 1 - share) if level is None else level
    if look.uneven:  # section k is cut at k - u / 2 and k + u / 2 in turn
        half = look.uneven / 2
        sides = (shift(grey, (by, 0, 0), order=3, mode="nearest") for by in (-half, half))
        grey[0::2], grey[1::2] = (side[k::2] for k, side in enumerate(sides))
    grey = THRESHOLD - 0.5 + look.contrast * (grey - edge)
    if look.mottle:
        grey += look.mottle * np.stack([field(grey.shape[1:], 1.0, rng) for _ in grey])
    grey += look.noise * rng.standard_normal(grey.shape, np.float32)
    return np.rint(np.clip(grey, 0, 255)).astype(np.uint8)


def _real(name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Phases of a public volume, its first corner."""
    if name == "berea":
        labels = (~sandstone.pore_space("real")[0]).astype(np.uint8)
    else:
        path = find_file("electrode.tiff")
        if path is None:
            raise ValueError(
                "electrode.tiff is not here: run 'python data/download.py case1', or set "
                "SRLIB_DATA to its folder, or take a twin"
            )
        import tifffile

        labels = tifffile.imread(path) // 85
    if any(want > n for want, n in zip(shape, labels.shape, strict=True)):
        raise ValueError(f"{name} has {labels.shape} voxels, fewer than {shape}")
    return labels[tuple(map(slice, shape))]
