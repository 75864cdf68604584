"""Mixed precision in bfloat16 on any device, a CPU too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass of a training step under bfloat16 autocast; weights and gradients stay float32.

    MMEngine's ``AmpOptimWrapper`` needs an accelerator. bfloat16 has the range of float32, so no gradient scaler is
    needed. Prediction and labeling stay in float32. Takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[Any]:
        """Autocast the forward pass.

        Args:
            model: The model.
        """
        device = "cpu" if get_device() == "cpu" else get_device().split(":")[0]
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
