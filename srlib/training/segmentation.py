"""Train a small network to segment slices, from very few labelled ones, and use it."""

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.data.normalization import check_grey
from srlib.models.attention import AttentionResUNet
from srlib.precision import autocast
from srlib.training.distributed import choose_device
from srlib.training.supervised import fit_supervised, one_cycle


def fit_segmenter(
    images: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    classes: int = 2,
    cuts: int = 2,
    steps: int = 150,
    batch: int = 4,
    width: int = 12,
    rate: float = 2e-3,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
    **options: Any,
) -> nn.Module:
    """A network that has learnt the phases of labelled slices.

    Each slice is cut into ``cuts * cuts`` sub-images. A batch is drawn from them, each turned by a
    multiple of 90 degrees and mirrored at random; the loss is the cross-entropy of the pixels
    inside of the mask (InDI, "Machine-learning image segmentation": one slice, four sub-images,
    augmented three times; the loss is not said).

    Args:
        images: Grey values in [-1, 1], ``(H, W)`` or ``(D, H, W)``.
        labels: Phases 0 to ``classes - 1`` of the same shape.
        mask: Bool ``(H, W)``, where a pixel counts; None for everywhere.
        classes: Phases to tell apart.
        cuts: Sub-images along each edge of a slice; a remainder that is no multiple of 8 pixels
            is left out.
        steps: Of the optimiser.
        batch: Sub-images a step.
        width: Filters of the first level, see :class:`srlib.models.AttentionResUNet`.
        rate: Highest learning rate.
        seed: Of the weights and of the batches.
        device, progress, options: As in :func:`srlib.training.fit_supervised`.

    Returns:
        The network in evaluation mode; ``.meta`` holds the losses and the seconds.

    Raises:
        ValueError: if the shapes differ, a label is unknown, grey values are not finite or far
            outside [-1, 1], the mask is empty, or a sub-image would be too small.
    """
    images, labels, mask = _checked(images, labels, mask, classes)
    device = choose_device(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AttentionResUNet(classes, width)
    model = model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    edges = [n // cuts // model.multiple * model.multiple for n in mask.shape] if cuts > 0 else [0]
    if not all(edges):
        raise ValueError(
            f"cuts={cuts} of {mask.shape} leaves less than {model.multiple} pixels: take fewer"
        )
    stack = np.stack([images, labels, np.broadcast_to(mask, images.shape)], 1).astype(np.float32)
    pool = [
        torch.from_numpy(stack[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w])
        for h, w in [edges]
        for i, j in np.ndindex(cuts, cuts)
    ]
    pool = [one for tiles in pool for one in tiles if one[2].any()]
    if not pool:
        raise ValueError("no sub-image has a pixel inside of the mask: take fewer cuts")
    square = edges[0] == edges[1]

    def loss(network: nn.Module, rng: torch.Generator) -> Tensor:
        drawn = []
        for _ in range(batch):
            k, turn, flip = (
                int(torch.randint(0, n, (1,), generator=rng)) for n in (len(pool), 4, 2)
            )
            one = torch.rot90(pool[k], turn if square else 2 * (turn % 2), (1, 2))
            drawn.append(one.flip(2) if flip else one)
        x, y, weight = torch.stack(drawn).to(device).unbind(1)
        each = F.cross_entropy(network(x[:, None]), y.long(), reduction="none")
        return (each * weight).sum() / weight.sum()

    key = hashlib.sha256(stack.tobytes()).hexdigest()
    about = f"segmenter {cuts} {batch} {key}"
    own: dict[str, Any] = dict(schedule=one_cycle, clip=1.0, progress=progress) | options
    return fit_supervised(model, loss, steps, seed, device, rate=rate, data_key=about, **own)


def segment(model: nn.Module, image: np.ndarray, scale: int = 1) -> np.ndarray:
    """The most likely phase of every pixel.

    Args:
        model: Of :func:`fit_segmenter`.
        image: Grey values in [-1, 1], ``(H, W)`` or slices ``(D, H, W)``, each on its own.
        scale: Labels on a grid so many times as fine: the logits are interpolated linearly, then
            the largest wins. The centre of fine pixel i is at ``(i + 0.5) / scale - 0.5``.

    Returns:
        ``uint8`` labels, ``(scale * H, scale * W)`` or ``(D, scale * H, scale * W)``.

    Raises:
        ValueError: for an image that is not 2D or 3D, not finite or far outside [-1, 1], or for a
            scale below 1.
    """
    image = check_grey(image)
    if scale != int(scale) or scale < 1:
        raise ValueError(f"scale={scale} should be a whole number, 1 or more")
    device, (high, wide) = next(model.parameters()).device, image.shape[-2:]
    fill = [-n % model.multiple for n in (wide, high)]
    planes = []
    with torch.inference_mode(), autocast(device):
        for plane in image.reshape(-1, 1, 1, high, wide):
            x = F.pad(torch.from_numpy(plane).to(device), (0, fill[0], 0, fill[1]), "replicate")
            logits = model(x).float()[..., :high, :wide]
            if scale > 1:
                logits = F.interpolate(logits, scale_factor=int(scale), mode="bilinear")
            planes.append(logits[0].argmax(0).to(torch.uint8).cpu().numpy())
    return np.stack(planes) if image.ndim == 3 else planes[0]


def _checked(
    images: np.ndarray, labels: np.ndarray, mask: np.ndarray | None, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slices ``(D, H, W)``, their labels and a mask ``(H, W)``."""
    images, labels = check_grey(images), np.asarray(labels)
    if labels.shape != images.shape:
        raise ValueError(f"images {images.shape} and labels {labels.shape} should be alike")
    mask = np.ones(images.shape[-2:], bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != images.shape[-2:] or not mask.any():
        raise ValueError(f"the mask {mask.shape} should be {images.shape[-2:]} and not empty")
    values = labels[..., mask]
    unknown = np.setdiff1d(values, np.arange(classes))
    if len(unknown):
        raise ValueError(f"label {unknown[0]} is not one of 0 to {classes - 1}")
    images, labels = (one.reshape(-1, *mask.shape) for one in (images, labels))
    return images, np.where(mask, labels, 0), mask
