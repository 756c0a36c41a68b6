r"""What a rock's pores and minerals mean for flow, current and stiffness.

The flow itself is solved in :mod:`srlib.metrics.stokes`; here are a quicker pore-network estimate
of it, the electrical formation factor, pore widths, connectivity and bounds on elastic moduli.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srlib.metrics.labels import check_voxel
from srlib.metrics.stokes import flowing_phase
from srlib.metrics.transport import spanning, transport_efficiency

_PLATE = 3


def _pore_network(pore: NDArray) -> dict[str, NDArray]:
    """Pores and throats of a mask, with a layer of pores outside ``pore[0]`` and ``pore[-1]``."""
    import porespy

    logger = logging.getLogger("porespy")
    shown, level = porespy.settings.tqdm, logger.level
    porespy.settings.tqdm = {**shown, "disable": True}
    logger.setLevel(logging.ERROR)
    try:
        found = porespy.networks.snow2(pore, boundary_width=[_PLATE, 0, 0], parallel_kw=None)
    finally:
        porespy.settings.tqdm = shown
        logger.setLevel(level)
    return found.network


def _conductances(network: dict[str, NDArray]) -> NDArray:
    """Flow through each throat and its two half pores for a unit pressure drop, viscosity 1."""
    ends = network["throat.conns"]
    throat = network["throat.equivalent_diameter"][:, None] / 2
    pore = network["pore.inscribed_diameter"][ends] / 2
    length = network["pore.coords"][ends] - network["throat.global_peak"][:, None]
    length = np.maximum(np.linalg.norm(length, axis=2), 0.5)
    length[(network["pore.xmin"] | network["pore.xmax"])[ends]] = 0.0
    integral = length * (pore**2 + pore * throat + throat**2) / (3 * pore**3 * throat**3)
    return np.pi / 8 / integral.sum(1)


def network_permeability(
    labels: NDArray, phase: int = 0, axis: int = 0, voxel: float = 1.0
) -> float:
    r"""Permeability from a pore network: an estimate, up to a third too low.

    ``porespy.networks.snow2`` (Gostick, Phys. Rev. E 96, 023307, 2017) divides the phase into pores
    and throats. Between a pore's centre and a throat lies a cone, from the pore's inscribed radius
    R to the radius r of a circle with the throat's area, with the conductance (Poiseuille's law
    summed along the cone, as in OpenPNM's "cones and cylinders")

    .. math:: \frac{1}{g} = \frac{8\mu}{\pi}\int_0^l \frac{dx}{r(x)^4}
        = \frac{8\mu l}{\pi}\,\frac{R^2 + Rr + r^2}{3R^3r^3}

    and the flow into every pore balances. :func:`permeability` is the reference: it costs about the
    same up to 128^3 voxels and is right within a few per cent, so use this one for larger volumes
    and for ranking. On ten cubes of Berea sandstone and three random media it gave 0.65 to 1.0
    times the reference, but less in pores wider than the volume is long.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: The phase that flows; all others are solid.
        axis: Direction between the two pressure plates.
        voxel: Edge of a voxel.

    Returns:
        Permeability >= 0 in units of ``voxel`` squared; 0.0 if the phase does not connect the
        plates.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or axis
            or voxel is out of range.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, laplacian
    from scipy.sparse.linalg import spsolve

    pore = spanning(flowing_phase(labels, phase, axis))
    voxel = check_voxel(voxel)
    if not pore.any():
        return 0.0
    network = _pore_network(pore)
    n, ends = len(network["pore.coords"]), network["throat.conns"].T
    weights = coo_matrix((_conductances(network), ends), (n, n)).tocsr()
    balance = laplacian(weights + weights.T).tocsr()
    inlet, outlet = network["pore.xmin"], network["pore.xmax"]
    part = connected_components(weights, directed=False)[1]
    linked = np.isin(part, np.intersect1d(part[inlet], part[outlet]))
    free = linked & ~inlet & ~outlet
    pressure = inlet.astype(float)
    pressure[free] = spsolve(balance[free][:, free].tocsc(), -(balance @ pressure)[free])
    flux = (balance @ pressure)[inlet & linked].sum()
    return float(flux) * len(pore) / pore[0].size * voxel**2


def formation_factor(labels: NDArray, phase: int = 0, axis: int = 0) -> float:
    r"""Resistance of a rock full of brine over that of the brine alone.

    .. math:: F = \frac{R_\mathrm{rock}}{R_\mathrm{brine}} = \frac{D_0}{D_\mathrm{eff}}

    the inverse of :func:`transport_efficiency`, as current and diffusion follow one equation
    (Archie, Trans. AIME 146, 54, 1942). Minerals are taken as insulators.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: The phase that conducts.
        axis: Direction of the current.

    Returns:
        At least 1 over the volume fraction; ``inf`` if the phase does not connect the two faces.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or axis
            is out of range.
    """
    flowing_phase(labels, phase, axis)
    efficiency = transport_efficiency(labels, phase, axis)
    return 1 / efficiency if efficiency else float("inf")


def connected_share(labels: NDArray, phase: int = 0, axis: int = 0) -> float:
    """Share of a phase that belongs to a piece touching both faces across ``axis``.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: Phase to follow; voxels connect through shared faces only.
        axis: Direction.

    Returns:
        Share of the phase's voxels in [0, 1]; 1 if all of it connects.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or axis
            is out of range.
    """
    mask = flowing_phase(labels, phase, axis)
    return np.count_nonzero(spanning(mask)) / np.count_nonzero(mask)


def pore_sizes(labels: NDArray, phase: int = 0, voxel: float = 1.0) -> tuple[NDArray, NDArray]:
    """How wide the places of a phase are: its distribution of local thickness.

    The width at a voxel is the diameter of the largest ball that covers the voxel and fits into
    the phase (Hildebrand and Rueegsegger, J. Microscopy 185, 67, 1997), by
    ``porespy.filters.local_thickness``. Radii are whole voxels, so that a slit of 3 or 4 voxels
    counts as 4. A piece cut by the border counts as going on beyond it.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: Phase to measure.
        voxel: Edge of a voxel.

    Returns:
        ``(diameters, share)``, both of shape ``(n,)``: the diameters that occur, rising, in units
        of ``voxel``, and the share of the phase's volume that is this wide or narrower; its last
        value is 1.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or voxel
            is out of range.
    """
    from porespy.filters import local_thickness

    mask = flowing_phase(labels, phase)
    voxel = check_voxel(voxel)
    radii, counts = np.unique(local_thickness(mask, smooth=False)[mask], return_counts=True)
    return 2.0 * radii * voxel, np.cumsum(counts) / counts.sum()


def euler_number(labels: NDArray, phase: int = 0, voxel: float = 1.0) -> float:
    """Pieces minus loops plus enclosed cavities of a phase, per volume.

    The lower (the more negative), the better connected; it rises when throats are lost. Counted by
    ``skimage.measure.euler_number``, voxels of the phase connecting through shared faces only, so
    that all else connects through edges and corners, too.

    Args:
        labels: Phases ``0 .. n-1``, 3D ``(D, H, W)``.
        phase: Phase to measure.
        voxel: Edge of a voxel.

    Returns:
        Euler number per cubed unit of ``voxel``; times the number of voxels, a whole number.

    Raises:
        ValueError: if the labels are not 3D whole numbers, the phase is not among them, or voxel
            is out of range.
    """
    from skimage.measure import euler_number as count

    mask = flowing_phase(labels, phase)
    return count(mask, connectivity=1) / (mask.size * check_voxel(voxel) ** 3)


def hashin_shtrikman(
    fractions: Sequence[float], bulk: Sequence[float], shear: Sequence[float]
) -> dict[str, tuple[float, float]]:
    r"""Narrowest bounds on the moduli of an isotropic mix of which only the shares are known.

    .. math:: K(z) = \Big[\sum_i \frac{f_i}{K_i + z}\Big]^{-1} - z, \qquad z = \tfrac43 G

    .. math:: G(\zeta) = \Big[\sum_i \frac{f_i}{G_i + \zeta}\Big]^{-1} - \zeta, \qquad
        \zeta = \frac{G}{6}\,\frac{9K + 8G}{K + 2G}

    with the smallest K and G of all phases in z and :math:`\zeta` for the lower bound, the largest
    for the upper one (Hashin and Shtrikman, J. Mech. Phys. Solids 11, 127, 1963; in this form
    Berryman, 1995). Moduli in GPa for rock (Mavko, Mukerji and Dvorkin, The Rock Physics Handbook,
    table A.4.1), bulk and shear: quartz 37 and 44, feldspar 37.5 and 15, clay 25 and 9, an empty
    pore 0 and 0, water 2.25 and 0::

        hashin_shtrikman([0.75, 0.05, 0.0, 0.2], [37, 37.5, 25, 2.25], [44, 15, 9, 0])

    Args:
        fractions: Volume fractions >= 0, summing to 1, such as from :func:`volume_fractions`.
        bulk: Bulk modulus >= 0 of each phase, in any unit.
        shear: Shear modulus >= 0 of each phase, in the same unit.

    Returns:
        ``{"bulk": (lower, upper), "shear": (lower, upper)}`` in that unit. A phase of share 0 does
        not count.

    Raises:
        ValueError: if the three differ in length, a value is negative, or the shares do not sum
            to 1.
    """
    values = [np.asarray(part, float) for part in (fractions, bulk, shear)]
    if not values[0].ndim == 1 or len({part.shape for part in values}) != 1:
        raise ValueError("fractions, bulk and shear should be three lists of one length.")
    if min(part.min(initial=0) for part in values) < 0 or abs(values[0].sum() - 1) > 1e-6:
        raise ValueError("fractions should sum to 1, and no fraction or modulus be negative.")
    share, k, g = (part[values[0] > 0] for part in values)

    def mixed(moduli: NDArray, extra: float) -> float:
        stiff = moduli + extra
        return float(1 / np.sum(share / stiff) - extra) if stiff.min() > 0 else 0.0

    bounds: dict[str, list[float]] = {"bulk": [], "shear": []}
    for k_end, g_end in ((k.min(), g.min()), (k.max(), g.max())):
        zeta = g_end / 6 * (9 * k_end + 8 * g_end) / (k_end + 2 * g_end) if g_end else 0.0
        bounds["bulk"].append(mixed(k, 4 / 3 * g_end))
        bounds["shear"].append(mixed(g, zeta))
    return {name: (low, high) for name, (low, high) in bounds.items()}
