"""HRDA: context of the whole image at half size, details of windows at full size, fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.models.detail_maps import Box, DetailMaps, half_size, sliding_boxes
from mmdrsl.models.feature_maps import FeatureMaps

# Output stride 4 of the decoder, twice: then a window begins at a cell of the context, too.
_MULTIPLE = 8


@MODELS.register_module()
class HRDASegmentor(EncoderDecoder):
    """Any segmentor at two sizes.

    Paper: Hoyer et al., "HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation" (ECCV 2022). One
    backbone and one decode head see the whole image at half size (the context) and windows of it at full size (the
    detail); a second head of the same kind weighs the two for every class and place, see `fuse_scales`. In training
    the detail is one window, drawn for the batch, and has a share of the loss. In evaluation mode, in which a teacher
    labels, windows of the same size slide over the image by half their size and are averaged. The published code
    never draws the last row and column of windows; here all are drawn alike.

    Every config of an ``EncoderDecoder`` becomes one by its ``type``: `UDASegmentor` fills in windows of half the side
    of its ``crop_size``, as published.

    Args:
        detail_size: (height, width) of the windows in pixels; images that are smaller are their own window.
        scale_attention: What is different in the head of the attention from `decode_head`.
        detail_weight: Share of the detail's own loss, in [0, 1).
        backbone: As for ``EncoderDecoder``.
        decode_head: Any decode head.
        options: Other arguments of ``EncoderDecoder``. Neck and auxiliary heads see the context.

    Raises:
        ValueError: A size is below 1, or `detail_weight` outside its range.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        decode_head: dict,
        detail_size: Sequence[int],
        scale_attention: dict | None = None,
        detail_weight: float = 0.1,
        **options: Any,
    ) -> None:
        head = dict(
            type="HRDAHead",
            decode_head=decode_head,
            scale_attention=scale_attention,
            detail_weight=detail_weight,
        )
        super().__init__(backbone=backbone, decode_head=head, **options)
        if len(detail_size) != 2 or min(detail_size) < 1:
            raise ValueError(f"detail_size must be (height, width) in pixels, found {detail_size}.")
        self.detail_size = tuple(detail_size)

    def extract_feat(self, inputs: Tensor) -> FeatureMaps:
        """Maps of the context, and those of the windows as ``detail``.

        Args:
            inputs: Normalized images, shape (B, 3, H, W).
        """
        size = (inputs.shape[2], inputs.shape[3])
        window = (min(self.detail_size[0], size[0]), min(self.detail_size[1], size[1]))
        context = super().extract_feat(half_size(inputs))
        boxes = [_draw_box(size, window)] if self.training else sliding_boxes(size, window)
        details = torch.cat([inputs[..., a:b, c:d] for a, b, c, d in boxes])
        detail = DetailMaps(tuple(super().extract_feat(details)), boxes, size)
        return FeatureMaps(context, detail=detail)


def _draw_box(size: tuple[int, int], window: tuple[int, int]) -> Box:
    """A window at a random place; draws from PyTorch's generator."""
    top, left = (
        int(torch.randint((length - side) // _MULTIPLE + 1, ())) * _MULTIPLE
        for length, side in zip(size, window, strict=True)
    )
    return (top, top + window[0], left, left + window[1])
