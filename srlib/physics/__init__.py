"""Imaging physics: down-sampling, sectioning, tomography and scattering.

Tensors or arrays in, tensors or arrays out; nothing here reads a file or knows a network.
"""

from srlib.physics.downsampling import (
    coarse_size,
    downsample,
    exact_scale,
    gaussian_kernel,
    simulate_lr,
)

__all__ = [
    "coarse_size",
    "downsample",
    "exact_scale",
    "gaussian_kernel",
    "simulate_lr",
]
