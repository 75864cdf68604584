"""Classifier of DeepLab-V2: dilated convolutions side by side, summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


class SummedConvolutions(nn.Module):
    """Sum of 3 x 3 convolutions with different dilations on the same input.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dilations: One convolution each.
    """

    def __init__(self, in_channels: int, out_channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Sum of all branches, shape (B, out_channels, H, W)."""
        return torch.stack([branch(inputs) for branch in self.branches]).sum(dim=0)


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """ASPP-L of DeepLab-V2 (Chen et al. 2018) as the adaptation literature has it: no hidden layer.

    The logits are the sum of one dilated convolution per rate on the backbone's last features. The classifier that
    AdaptSegNet released returns inside its loop and so sums only the first two; this one sums all.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes.
        dilations: Rates, at least one.
        base_options: Other arguments of MMSegmentation's ``BaseDecodeHead``: ``in_index``, ``dropout_ratio``,
            ``loss_decode``, ...

    Raises:
        ValueError: `dilations` is empty.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        **base_options: Any,
    ) -> None:
        if not dilations:
            raise ValueError(
                "dilations is empty; give at least one, the paper's are 6, 12, 18, 24."
            )
        super().__init__(
            in_channels=in_channels, channels=in_channels, num_classes=num_classes, **base_options
        )
        # Under the base's name, so that its dropout, its initialization and the rates of heads hold for it.
        self.conv_seg = SummedConvolutions(in_channels, self.out_channels, dilations)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits, shape (B, num_classes, h, w) at the resolution of the features.

        Args:
            inputs: Feature maps of the backbone or neck.
        """
        return self.cls_seg(self._transform_inputs(inputs))
