"""Networks, one file per architecture, and their weights on disk."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from srlib import storage
from srlib.models.attention import AttentionResUNet
from srlib.models.depth import SRCNN, DepthGenerator
from srlib.models.patch import PatchCritic
from srlib.models.stylegan import StyleCritic, StyleGenerator
from srlib.models.superres import SuperRes, SuperResCritic
from srlib.models.superres_lite import SuperResLite, SuperResLiteCritic
from srlib.models.unet import RestorationUNet

WEIGHTS = Path(os.environ.get("SRLIB_WEIGHTS", Path(__file__).parents[2] / "weights"))
"""Folder of shipped weights: that of the checkout, or ``$SRLIB_WEIGHTS``; a wheel holds none."""
_CLASSES = {
    c.__name__: c
    for c in (
        SuperResLite,
        SuperResLiteCritic,
        SuperRes,
        SuperResCritic,
        RestorationUNet,
        PatchCritic,
        AttentionResUNet,
        StyleGenerator,
        StyleCritic,
        DepthGenerator,
        SRCNN,
    )
}


def save(model: nn.Module, path: str | Path, meta: dict | None = None) -> Path:
    """Write a model's weights, its configuration and ``meta`` to one ``.safetensors`` file."""
    about = {"model": type(model).__name__, "config": model.config, **(meta or {})}
    return storage.write(path, model.state_dict(), about)


def export(model: nn.Module, path: str | Path) -> Path:
    """Write weights to ship, and their ``.meta`` beside them as JSON.

    The model's weights are rounded to 16 bits on the way, half the size; what statistics of
    normalisation there are stay as they are.
    """
    path = Path(path)
    model.bfloat16()
    if hasattr(model, "norms"):
        model.norms.float()
    save(model, path, model.meta)
    side = json.dumps({**model.meta, "config": model.config}, indent=1) + "\n"
    storage.write_atomic(path.with_suffix(".json"), side.encode())
    return path


def sha256(model: nn.Module) -> str:
    """Hash of a model's weights and their names, the same on every device."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def load(path_or_name: str | Path) -> nn.Module:
    """A model in evaluation mode, with what is known of it in ``.meta``.

    Args:
        path_or_name: A ``.safetensors`` file, or the name of shipped weights (``"case3-real-0"``).

    Raises:
        ValueError: if there is no such file, or it is damaged, or for another model.

    Example:
        >>> from srlib import models
        >>> model = models.load("case3-twin-0")
        >>> model.scale_factor, model.n_phases, model.meta["case"]
        (4, 3, 'case3')
    """
    path = Path(path_or_name)
    shipped = WEIGHTS / f"{path_or_name}.safetensors"
    if path.suffix != ".safetensors" and path.exists() and not shipped.exists():
        beside = path.with_name(f"{path.name}.safetensors")
        advice = f"{beside.name} is beside it" if beside.exists() else "name a .safetensors file"
        raise ValueError(f"{path.name} holds no weights: {advice}")
    if path.suffix != ".safetensors":
        path = shipped
        if not path.exists():
            found = sorted({p.stem.split("-")[0] for p in WEIGHTS.glob("*-*-[0-9]*.safetensors")})
            names = ", ".join(k for k in found if k != "study") or "none"  # many are of studies
            raise ValueError(
                f"there are no weights {str(path_or_name)!r}: there are {names}, each with -real-0 "
                f"or -twin-0 behind it; see the folder weights of the "
                "repository, or name one in SRLIB_WEIGHTS"
            )
    tensors, meta = storage.read(path)
    try:
        model = _CLASSES[meta["model"]](**meta["config"])
        model.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError):
        raise ValueError(f"{path} does not fit a model of this version: train it anew") from None
    model.meta = meta
    return model.eval()


def load_or_train(
    name: str | Path, train: Callable[[], nn.Module], anew: bool = False
) -> nn.Module:
    """Shipped weights by their name, or a training in their place.

    Args:
        name: As in :func:`load`.
        train: Makes the network; called only if ``anew``.
        anew: Train, and leave the shipped weights aside.
    """
    return train() if anew else load(name)
