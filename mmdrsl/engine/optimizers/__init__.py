"""Optimizers that PyTorch lacks, rates by layer, and mixed precision on a CPU."""

from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from .layer_decay import LayerDecayConstructor
from .sgd_with_adam import SGDWithAdam

__all__ = ["CPUAmpOptimWrapper", "LayerDecayConstructor", "SGDWithAdam"]
