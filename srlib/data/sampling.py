"""One-hot phases, and random windows of volumes and images."""

import numpy as np
import torch
from torch import Tensor


def one_hot(labels: np.ndarray | Tensor, n: int) -> Tensor:
    """Channels of 0 and 1: labels ``(..., D, H, W)`` to float ``(n, ..., D, H, W)``.

    Example:
        >>> import numpy as np
        >>> from srlib.data import one_hot
        >>> one_hot(np.array([0, 2, 1]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    labels = torch.as_tensor(labels)
    return (labels[None] == torch.arange(n).view(-1, *[1] * labels.ndim)).float()


def _starts(
    shape: tuple[int, ...], edge: int, n: int, generator: torch.Generator | None
) -> np.ndarray:
    if min(shape) < edge:
        raise ValueError(
            f"a window of {edge} does not fit into the shape {tuple(shape)}: use a larger image "
            "or volume, or a smaller window"
        )
    return np.stack(
        [torch.randint(0, size - edge + 1, (n,), generator=generator).numpy() for size in shape], 1
    )


def sample_cubes(
    lr: np.ndarray, edge: int, n: int, generator: torch.Generator | None = None
) -> np.ndarray:
    """``n`` cubes ``(n, edge, edge, edge)`` of a volume, every position as likely as any other.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from srlib.data import sample_cubes
        >>> sample_cubes(np.zeros((9, 9, 9)), 4, 2, torch.Generator().manual_seed(0)).shape
        (2, 4, 4, 4)
    """
    starts = _starts(lr.shape, edge, n, generator)
    return np.stack([lr[z : z + edge, y : y + edge, x : x + edge] for z, y, x in starts])


def most_mixed(lr: Tensor, count: int) -> Tensor:
    """Of each ``count`` cubes ``(B * count, m, D, H, W)`` the one of most entropy, ``(B, ...)``."""
    shares = lr.mean((2, 3, 4))
    entropy = torch.special.entr(shares).sum(1).view(-1, count)
    return lr.unflatten(0, (-1, count))[torch.arange(len(entropy)), entropy.argmax(1)]


def sample_squares(
    images: list[np.ndarray], edge: int, n: int, generator: torch.Generator | None = None
) -> np.ndarray:
    """``n`` squares ``(n, edge, edge)`` of a list of images, every position as likely."""
    shapes = np.array([i.shape for i in images])
    rooms = (shapes - edge + 1.0).clip(0).prod(1)
    if not rooms.any():
        raise ValueError(
            f"a window of {edge} pixels does not fit into any fine image (largest: "
            f"{max((i.shape for i in images), key=min)}): use larger images or a smaller window"
        )
    which = torch.multinomial(torch.from_numpy(rooms), n, replacement=True, generator=generator)
    out = np.empty((n, edge, edge), np.uint8)
    for i, k in enumerate(which.tolist()):
        y, x = _starts(images[k].shape, edge, 1, generator)[0]
        out[i] = images[k][y : y + edge, x : x + edge]
    return out


def slice_volume(volume: Tensor, axis: int, index: Tensor | None = None) -> Tensor:
    """Slices normal to ``axis``: ``(B, n, D, H, W)`` to ``(B * slices, n, H, W)``.

    ``index`` picks planes along the axis; None takes all (SuperRes, Algorithm 1 line 7).
    """
    planes = volume if index is None else volume.index_select(axis + 2, index.to(volume.device))
    return planes.movedim(axis + 2, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def check_images(images: list[np.ndarray], n: int, edge: int) -> None:
    """Whether squares of ``edge`` pixels can be taken of every one of some label images.

    Raises:
        ValueError: if there are none, or one is no ``(H, W)`` array of uint8 phases below ``n``, or
            smaller than ``edge``.
    """
    if not isinstance(images, list | tuple) or not images:
        raise ValueError("give a list of label images, at least one")
    for k, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.uint8:
            raise ValueError(
                f"image {k} must be (H, W) uint8 phases, not {np.shape(image)} "
                f"{getattr(image, 'dtype', type(image).__name__)}: see encode_labels"
            )
        if min(image.shape) < edge:
            raise ValueError(
                f"image {k} of {image.shape} is smaller than {edge} pixels: use larger ones, or a "
                "smaller edge"
            )
        if image.max() >= n:
            raise ValueError(
                f"image {k} has phase {image.max()}, but there are {n}, 0 to {n - 1}: name more "
                "phases, or see encode_labels"
            )
