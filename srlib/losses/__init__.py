"""The terms of the objectives, one function each."""

from srlib.losses.adversarial import (
    critic_loss,
    generator_loss,
    gradient_penalty,
    hinge,
    logistic_critic_loss,
    nonsaturating_generator_loss,
    r1_penalty,
)
from srlib.losses.consistency import local_fraction_loss, scattering_loss, voxelwise_loss
from srlib.losses.perceptual import berhu, feature_loss
from srlib.losses.regularization import (
    checkerboard_loss,
    interface_isotropy_loss,
    volume_fraction_loss,
)

__all__ = [
    "berhu",
    "checkerboard_loss",
    "critic_loss",
    "feature_loss",
    "generator_loss",
    "gradient_penalty",
    "hinge",
    "interface_isotropy_loss",
    "local_fraction_loss",
    "logistic_critic_loss",
    "nonsaturating_generator_loss",
    "r1_penalty",
    "scattering_loss",
    "volume_fraction_loss",
    "voxelwise_loss",
]
