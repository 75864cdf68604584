"""VFM-UDA's light decoder: transposed convolutions on the last map of a plain vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils.san_layers import LayerNorm2d
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class UpsamplingHead(BaseDecodeHead):
    """Four times the size by two transposed convolutions, then a 3 x 3 convolution and the classifier.

    The decoder of Englert et al., "Exploring the Benefits of Vision Foundation Models for Unsupervised Domain
    Adaptation" (CVPR workshops 2024, VFM-UDA): channels are halved twice in the publication, and the classifier has no
    bias.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes.
        channels: Channels behind both transposed convolutions; a quarter of `in_channels` in the publication. The first
            one has twice as many.
        base_options: Other arguments of MMSegmentation's ``BaseDecodeHead``: ``in_index``, ``dropout_ratio``,
            ``loss_decode``, ...
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, channels: int, **base_options: Any
    ) -> None:
        base_options.setdefault(
            "init_cfg", dict(type="Normal", std=0.1, override=dict(name="conv_seg"))
        )
        super().__init__(
            in_channels=in_channels, num_classes=num_classes, channels=channels, **base_options
        )
        self.upsampling = nn.Sequential(
            nn.ConvTranspose2d(in_channels, 2 * channels, 2, stride=2),
            LayerNorm2d(2 * channels),
            nn.GELU(),
            nn.ConvTranspose2d(2 * channels, channels, 2, stride=2),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            LayerNorm2d(channels),
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits, shape (B, num_classes, 4 h, 4 w).

        Args:
            inputs: Feature maps of the backbone or neck; the one of ``in_index`` is (B, in_channels, h, w).
        """
        return self.cls_seg(self.upsampling(self._transform_inputs(inputs)))
