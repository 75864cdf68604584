"""Convolutions that a CPU runs faster in float32 than in bfloat16."""

from __future__ import annotations

import torch
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import Tensor, nn

# MMCV's handles empty batches for old versions of PyTorch.
_PLAIN = (nn.Conv2d, Conv2d)


class Float32Convolution(nn.Conv2d):
    """A convolution that leaves autocast on a CPU, and returns what autocast would: a tensor of its type."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return super()._conv_forward(input, weight, bias)
        with torch.autocast("cpu", enabled=False):
            output = super()._conv_forward(input.float(), weight, bias)
        return output.to(torch.get_autocast_dtype("cpu"))


def use_float32_where_faster(model: nn.Module) -> None:
    """Let the depthwise convolutions with a stride or a dilation run in float32 under autocast on a CPU.

    PyTorch 2.14's backward pass of these takes 2.5 to 7 times as long in bfloat16 (this project's own measurement, on a
    CPU with AVX512-BF16 and ``channels_last``). A second call changes nothing.

    Args:
        model: Changed in place: the class of these modules becomes `Float32Convolution`. Parameters, names and, outside
            autocast, results stay.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and type(module) in _PLAIN and _is_slow(module):
            module.__class__ = Float32Convolution


def _is_slow(convolution: nn.Conv2d) -> bool:
    depthwise = convolution.groups == convolution.in_channels > 1
    return depthwise and max(*convolution.stride, *convolution.dilation) > 1
