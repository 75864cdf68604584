"""Optimizers and wrappers that PyTorch and MMEngine lack."""

from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .sgd_with_adam import SGDWithAdam

__all__ = ["BFloat16OptimWrapper", "SGDWithAdam"]
