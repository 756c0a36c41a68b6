"""A segmented scan that mixes up two phases, corrected by the neighbours of each voxel."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def vote(
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
