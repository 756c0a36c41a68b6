"""srlib: the models, losses and measurements behind the super-resolution book."""

__version__ = "0.1.0"
