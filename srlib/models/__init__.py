"""Networks, one file per architecture, and their weights on disk."""

from srlib.models.attention import AttentionResUNet
from srlib.models.depth import SRCNN, DepthGenerator
from srlib.models.patch import PatchCritic
from srlib.models.stylegan import StyleCritic, StyleGenerator
from srlib.models.superres import SuperRes, SuperResCritic
from srlib.models.superres_lite import SuperResLite, SuperResLiteCritic
from srlib.models.unet import RestorationUNet
from srlib.models.weights import WEIGHTS, export, load, load_or_train, save, sha256

__all__ = [
    "AttentionResUNet",
    "DepthGenerator",
    "PatchCritic",
    "RestorationUNet",
    "SRCNN",
    "StyleCritic",
    "StyleGenerator",
    "SuperRes",
    "SuperResCritic",
    "SuperResLite",
    "SuperResLiteCritic",
    "WEIGHTS",
    "export",
    "load",
    "load_or_train",
    "save",
    "sha256",
]
