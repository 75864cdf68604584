"""DAFormer's decoder: all stages at one size, fused by dilated separable convolutions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn


class SeparableASPP(nn.Module):
    """Dilated separable convolutions side by side, joined by a 3 x 3 convolution; no image pooling.

    Args:
        in_channels: Channels of the input.
        channels: Channels of every branch and of the output.
        dilations: One branch each; a rate of 1 is a 1 x 1 convolution.
        options: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of MMCV's ``ConvModule``.
    """

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], **options: Any
    ) -> None:
        super().__init__()
        self.branches = DepthwiseSeparableASPPModule(
            dilations=tuple(dilations), in_channels=in_channels, channels=channels, **options
        )
        self.bottleneck = ConvModule(len(dilations) * channels, channels, 3, padding=1, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        """Fused features, shape (B, channels, H, W)."""
        return self.bottleneck(torch.cat(self.branches(inputs), dim=1))


@MODELS.register_module()
class DAFormerHead(BaseDecodeHead):
    """Context-aware feature fusion (Hoyer et al., "DAFormer", CVPR 2022).

    A linear layer brings every stage to `channels`, bilinear interpolation to the size of the first one. What they are
    together is fused by `SeparableASPP` and classified.

    Args:
        in_channels: Channels of the feature maps.
        num_classes: Number of classes.
        channels: Channels of every embedded stage and of the fused features.
        dilations: Rates of the fusion; empty for a 1 x 1 convolution, as HRDA's scale attention has it.
        in_index: Which maps of the backbone are read, the largest first.
        base_options: Other arguments of MMSegmentation's ``BaseDecodeHead``: ``norm_cfg``, ``dropout_ratio``,
            ``loss_decode``, ...
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        num_classes: int,
        channels: int = 256,
        dilations: Sequence[int] = (1, 6, 12, 18),
        in_index: Sequence[int] = (0, 1, 2, 3),
        **base_options: Any,
    ) -> None:
        super().__init__(
            in_channels=list(in_channels),
            channels=channels,
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform="multiple_select",
            **base_options,
        )
        self.embeddings = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in in_channels)
        options = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        width = channels * len(self.embeddings)
        self.fusion = (
            SeparableASPP(width, channels, dilations, **options)
            if dilations
            else ConvModule(width, channels, 1, **options)
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits, shape (B, num_classes, h, w) at the size of the first map.

        Args:
            inputs: Feature maps of the backbone or neck.
        """
        maps = self._transform_inputs(inputs)
        embedded = [
            resize(
                embedding(each),
                size=maps[0].shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
            )
            for embedding, each in zip(self.embeddings, maps, strict=True)
        ]
        return self.cls_seg(self.fusion(torch.cat(embedded, dim=1)))
