"""Optimizers that PyTorch lacks."""

from .sgd_with_adam import SGDWithAdam

__all__ = ["SGDWithAdam"]
