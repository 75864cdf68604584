"""Optimizers that PyTorch lacks, and rates by layer."""

from .layer_decay import LayerDecayConstructor
from .sgd_with_adam import SGDWithAdam

__all__ = ["LayerDecayConstructor", "SGDWithAdam"]
