"""Decoder of SegNet: unpooling with the encoder's indices, mirrored convolutions, classifier."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import max_unpool2d

from mmdrsl.models.backbones.segnet_encoder import VGG16_STAGES, conv_stack


@MODELS.register_module()
class SegNetHead(BaseDecodeHead):
    """Mirror of ``SegNetEncoder`` whose logits have the resolution of the input image.

    Implements the decoder of Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional
    Encoder-Decoder Architecture for Image Segmentation", TPAMI 2017
    (https://arxiv.org/abs/1511.00561): 13 convolutions with norm and ReLU, then a 1x1 classifier.

    The head always reads the whole output of the encoder, and the classifier reads as many
    channels as the first stage has, so ``channels``, ``in_index`` and ``input_transform`` are not
    arguments.

    Args:
        in_channels: Channels of encoder stages 1 to 5, ``SegNetEncoder.stage_channels``.
        num_classes: Number of classes.
        base_options: Other arguments of MMSegmentation's ``BaseDecodeHead``: ``norm_cfg``,
            ``dropout_ratio``, ``loss_decode``, ``ignore_index``, ``align_corners``, ...

    Raises:
        ValueError: If ``in_channels`` does not name five stages.
    """

    def __init__(
        self, *, in_channels: Sequence[int], num_classes: int, **base_options: Any
    ) -> None:
        if len(in_channels) != len(VGG16_STAGES):
            raise ValueError(
                f"in_channels holds {len(in_channels)} numbers, expected {len(VGG16_STAGES)}, one "
                "per encoder stage; give the encoder's stage_channels"
            )
        super().__init__(
            in_channels=list(in_channels),
            channels=in_channels[0],
            num_classes=num_classes,
            in_index=list(range(len(in_channels))),
            input_transform="multiple_select",
            **base_options,
        )
        narrower = (in_channels[0], *in_channels[:-1])
        self.stages = nn.ModuleList(
            conv_stack((*[inputs] * num_convs, outputs), norm_cfg=self.norm_cfg)
            for inputs, outputs, (_, num_convs) in zip(
                in_channels, narrower, VGG16_STAGES, strict=True
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decode the output of the encoder into logits.

        Args:
            inputs: The eleven tensors that ``SegNetEncoder.forward`` returns.

        Returns:
            Logits, ``(N, num_classes, H, W)`` at the resolution of the encoder's input.

        Raises:
            ValueError: If ``inputs`` is not the output of a ``SegNetEncoder``.
        """
        num_stages = len(self.stages)
        if len(inputs) != 2 * num_stages + 1:
            raise ValueError(
                f"SegNetHead got {len(inputs)} tensors, expected {2 * num_stages + 1}: features "
                "and pooling indices of every stage and the image size; use SegNetEncoder as the "
                "backbone, without a neck"
            )
        features, indices = inputs[:num_stages], inputs[num_stages:-1]
        unpooled = (inputs[-1], *features[:-1])
        current = features[-1]
        for stage, index, target in reversed(
            list(zip(self.stages, indices, unpooled, strict=True))
        ):
            current = stage(max_unpool2d(current, index, (2, 2), output_size=target.shape[-2:]))
        return self.cls_seg(current)
