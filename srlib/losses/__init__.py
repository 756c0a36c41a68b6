"""The terms of the objectives, one function each."""

from srlib.losses.content import (
    balance_loss,
    berhu,
    evenness_loss,
    feature_loss,
    pattern_loss,
    share_loss,
    voxelwise_loss,
)
from srlib.losses.critics import (
    critic_loss,
    deceit,
    generator_loss,
    gradient_penalty,
    hinge,
    logistic,
    r1_penalty,
)
from srlib.losses.scattering import scattering, scattering_loss

__all__ = [
    "balance_loss",
    "berhu",
    "critic_loss",
    "deceit",
    "evenness_loss",
    "feature_loss",
    "generator_loss",
    "gradient_penalty",
    "hinge",
    "logistic",
    "pattern_loss",
    "r1_penalty",
    "scattering",
    "scattering_loss",
    "share_loss",
    "voxelwise_loss",
]
