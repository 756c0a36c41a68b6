"""Berea sandstone with four minerals: the object of rock x8 (SY6), fine, coarse and as images.

The paper's scans are not public. Where the public scan of a Berea is at hand, its pore space
carries the twin, one of its voxels taken for one coarse voxel of 3.5 um; else a synthetic one
does. Finer than that, and what is not pore, is a function of smooth random fields: rough grain
surfaces; quartz and feldspar; feldspar with small pores and flakes of clay, as weathering leaves
them; clay on the grains and in throats, full of pores below a micrometre.
"""

import io
import zipfile

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, label
from scipy.special import ndtri

from srlib.data.case import Case
from srlib.data.io import find_file
from srlib.physics.downsampling import downsample
from srlib.synthetic.microstructures import field

PHASES = ["pore", "quartz", "feldspar", "clay"]
VOXEL_NM = 437.5
SCALE = 8
PAIR = (1, 2)  # what a coarse scan mixes up: quartz and feldspar
MARGIN = 12  # coarse voxels
SOURCES = ("auto", "real", "twin")
POROSITY = 0.1965  # of the public Berea, at its own resolution
FELDSPAR = 0.17  # of the grains; X-ray diffraction: quartz 71.1, feldspar 15.1, clay 4.8 %
CELL = 26.0  # sigma of the field that parts quartz and feldspar, in fine voxels
ROUGH = 2.2  # of the grain surface, in fine voxels
CLAY = (0.35, 11.0, 22.0)  # where its field is above, thickness per unit, sigma; fine voxels
GRAIN = 1.5  # sigma of all that is finer than a coarse voxel, in fine voxels
CLAY_PORES = 0.35  # share of the clay
ALTERED = (0.4, 9.0)  # share of the feldspar that has weathered, sigma in fine voxels
GRAIN_PORES, FLAKES = 0.25, 0.15  # share of weathered feldspar that is pore, clay
QUARTZ_PORES = 0.004
WRONG = 0.11  # share of quartz and feldspar that are mixed up at this noise
SLAB = 16  # coarse voxels that are made at once
MIXED_UP = 0.8  # sd of the coarse grey noise over the contrast of quartz and feldspar / 2


def pore_space(source: str = "auto", seed: int = 0) -> tuple[np.ndarray, str]:
    """A pore space on the coarse grid, and what it is: ``"berea"`` or ``"twin"``.

    Args:
        source: ``"real"`` for the public scan of a Berea, 400 voxels an edge; ``"twin"`` for a
            synthetic one; ``"auto"`` for the former if it is there.
        seed: Of the synthetic one.

    Returns:
        ``bool`` ``(D, H, W)``, True in pores.

    Raises:
        ValueError: if the scan is asked for and missing.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    path = None if source == "twin" else find_file("berea.zip")
    if source == "real" and path is None:
        raise ValueError(
            "berea.zip is not here: run 'python data/download.py rock', or set SRLIB_DATA to its "
            "folder, or use source='twin'"
        )
    if path is None:
        rng, shape = np.random.default_rng([seed, 6]), (240, 160, 160)
        found = field(shape, 3.4, rng) + 0.5 * field(shape, 1.6, rng)
        return found > np.quantile(found, 1 - POROSITY), "twin"
    import tifffile

    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("berea.tif") and "__" not in n)
        return tifffile.imread(io.BytesIO(archive.read(name))) == 0, "berea"


def distance(pore: np.ndarray, where: tuple[slice, ...]) -> np.ndarray:
    """Distance to the grain surface in fine voxels, above 0 in pores, for a part of a pore space.

    What lies within ``MARGIN`` coarse voxels of the part is taken into account.
    """
    near = tuple(slice(max(k.start - MARGIN, 0), k.stop + MARGIN) for k in where)
    found = pore[near]
    found = distance_transform_edt(found) - distance_transform_edt(~found)
    found = SCALE * gaussian_filter(found.astype(np.float32), 0.8)
    inside = (slice(k.start - n.start, k.stop - n.start) for k, n in zip(where, near, strict=True))
    return found[tuple(inside)]


def parts(distance: np.ndarray, seed: int) -> np.ndarray:
    """What a part of the rock consists of, on the fine grid.

    Args:
        distance: Of a volume ``(D, H, W)``, from :func:`distance`, or of a plane ``(H, W)`` of one.
        seed: Of the minerals and of all that is finer than the pore space.

    Returns:
        ``uint8``, 8 times as large: pore, quartz, feldspar, clay = 0, 1, 2, 3, and the pores that
        a coarse scan cannot see: 4 in clay, 5 in a grain.
    """
    rng, shape = np.random.default_rng([seed, 7]), distance.shape
    wide = [distance, *(field(shape, sigma / SCALE, rng) for sigma in (CELL, ALTERED[1], CLAY[2]))]
    slabs = [slice(0, len(distance))]
    if distance.ndim == 3:  # as little memory as possible
        slabs = [slice(k, min(k + SLAB, len(distance))) for k in range(0, len(distance), SLAB)]
    return np.concatenate([_slab([enlarged(w, k) for w in wide], rng) for k in slabs])


def _slab(wide: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    d, mineral, weather, lining = wide
    d = d + ROUGH * field(d.shape, 3.0, rng)
    grain = field(d.shape, GRAIN, rng)  # all that is fine is above or below a level of it
    out = np.where(mineral > ndtri(1 - FELDSPAR), 2, 1).astype(np.uint8)
    weathered = (out == 2) & (weather > ndtri(1 - ALTERED[0]))
    out[weathered & (grain > ndtri(1 - FLAKES))] = 3
    out[weathered & (grain < ndtri(GRAIN_PORES)) | (grain < ndtri(QUARTZ_PORES))] = 5
    out[d > 0] = 0
    thick = CLAY[1] * np.maximum(lining - CLAY[0], 0)
    clay = (d > -0.5 * thick) & (d < thick)
    out[clay] = np.where(grain < ndtri(CLAY_PORES), 4, 3)[clay]
    return out


def enlarged(values: np.ndarray, slab: slice) -> np.ndarray:
    """Coarse values between the voxels, 8 times as large; of slices of a volume if it is one."""
    if values.ndim == 2:
        grid = torch.from_numpy(values)[None, None]
        return F.interpolate(grid, scale_factor=SCALE, mode="bilinear")[0, 0].numpy()
    low, high = max(slab.start - 1, 0), min(slab.stop + 1, len(values))
    grid = torch.from_numpy(values[low:high])[None, None]
    found = F.interpolate(grid, scale_factor=SCALE, mode="trilinear")[0, 0].numpy()
    return found[SCALE * (slab.start - low) : SCALE * (slab.stop - low)]


def seen(found: np.ndarray) -> np.ndarray:
    """Phases of :func:`parts`: all pores are pore."""
    return np.where(found > 3, 0, found).astype(np.uint8)


def scan(found: np.ndarray, seed: int, mixed_up: float = MIXED_UP) -> np.ndarray:
    """The coarse volume, segmented: blurred, without fine pores, quartz and feldspar mixed up.

    Clay with its pores is one grey, which the segmentation knows. Quartz and feldspar differ
    little, so noise decides here and there.

    Args:
        found: :func:`parts`, ``(D, H, W)``, multiples of 8.
        seed: Of the noise.
        mixed_up: Standard deviation of the noise over half of the contrast; 0.8 mixes up 11 %.

    Returns:
        ``uint8`` phases, an eighth as large along each axis.
    """
    whole = np.where(found == 4, 3, np.where(found == 5, 0, found))
    share = []
    for phase in range(4):
        fine = torch.from_numpy((whole == phase).astype(np.float32))[None, None]
        share.append(downsample(fine, SCALE, "blur")[0, 0].numpy())
    pore, quartz, feldspar, clay = share
    noise = gaussian_filter(np.random.default_rng([seed, 8]).standard_normal(pore.shape), 0.6)
    grey = (feldspar - quartz) / np.maximum(feldspar + quartz, 1e-6)
    grain = np.where(grey + mixed_up * noise / noise.std() > 0, 2, 1)
    out = np.where(quartz + feldspar >= np.maximum(pore, clay), grain, np.where(clay > pore, 3, 0))
    return out.astype(np.uint8)


def rarest_slice(labels: np.ndarray) -> int:
    """The slice along axis 0 that shows most of the class it shows least of."""
    shares = [[(plane == phase).mean() for phase in range(len(PHASES))] for plane in labels]
    return int(np.argmax(np.min(shares, axis=1)))


def small_pore_hosts(labels: np.ndarray) -> dict[str, float]:
    """Which minerals lie around pores smaller than a coarse voxel, as shares; 0 without such."""
    parts, _ = label(labels == 0)
    small = (labels == 0) & (np.bincount(parts.ravel()) < SCALE**3)[parts]
    around = labels[binary_dilation(small) & (labels > 0)]
    counts = np.bincount(around, minlength=len(PHASES))[1:]
    return dict(zip(PHASES[1:], counts / max(counts.sum(), 1), strict=True))


def case(
    source: str | np.ndarray = "auto",
    seed: int = 0,
    edge: int = 48,
    images: int = 14,
    image_edge: int = 64,
) -> Case:
    """A coarse volume, fine images of other parts of the rock, and the fine truth.

    Args:
        source: Of the pore space, see :func:`pore_space`; or one of another rock, ``bool``
            ``(D, H, W)`` on the coarse grid, True in pores.
        seed: Of everything; other seeds are other places of the same rock. Of 50 places the one
            whose porosity is nearest to that of the pore space is taken.
        edge: Of the coarse volume, in coarse voxels.
        images: How many fine images; they lie at least 24 coarse voxels below the volume.
        image_edge: Of each, in coarse voxels.

    Returns:
        A case named ``"rock"``; its ``.source`` is ``"twin"``, as all but the pore space is made.

    Raises:
        ValueError: if the volume or the images do not fit into the pore space.
    """
    pore = source if isinstance(source, np.ndarray) else pore_space(source, seed)[0]
    rng, half = np.random.default_rng([seed, 9]), len(pore) // 2
    if edge > half - 24 or max(edge, image_edge) > pore.shape[1]:
        raise ValueError(
            f"edges of {edge} and {image_edge} coarse voxels do not fit into a pore space of "
            f"{pore.shape}: at most {half - 24} and {pore.shape[1]}"
        )
    places = []
    for _ in range(50):
        corner = [int(rng.integers(0, n - edge + 1)) for n in (half - 24, *pore.shape[1:])]
        where = tuple(slice(c, c + edge) for c in corner)
        places.append((abs(pore[where].mean() - pore.mean()), where))
    where = min(places, key=lambda place: place[0])[1]
    found = parts(distance(pore, where), seed)
    fine = []
    for k in range(images):
        z = half + int(rng.integers(0, len(pore) - half))
        y, x = (int(rng.integers(0, n - image_edge + 1)) for n in pore.shape[1:])
        plane = slice(z, z + 1), slice(y, y + image_edge), slice(x, x + image_edge)
        fine.append(seen(parts(distance(pore, plane)[0], 1000 * (seed + 1) + k)))
    return Case(
        name="rock",
        hr=fine,
        lr=scan(found, seed),
        scale_factor=SCALE,
        phases=PHASES,
        lr_phases=PHASES,
        truth=seen(found),
        confused_phases=(*PAIR, WRONG),
        voxel_nm=VOXEL_NM,
        source="twin",
    )
