"""Mixed precision on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from .float32_convolutions import use_float32_where_faster


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs forward passes of a training on a CPU in bfloat16, where PyTorch's autocast does so.

    Weights, gradients and optimizer stay in single precision, and nothing is scaled: bfloat16 has the range of single
    precision. Faster only on a CPU with instructions for it (AVX512-BF16, AMX). MMEngine's ``AmpOptimWrapper`` wants an
    accelerator. Depthwise convolutions with a stride or a dilation run in single precision, see
    `float32_convolutions`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, within MMEngine's context for accumulated gradients.

        Args:
            model: What is trained.
        """
        use_float32_where_faster(model)
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield
