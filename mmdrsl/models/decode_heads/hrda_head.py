"""HRDA's decoder: one head for context and detail, and a second one that says which of them to believe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.models.detail_maps import Box, losses_with_detail
from mmdrsl.models.feature_maps import FeatureMaps


def fuse_scales(
    context: Tensor,
    detail: Tensor,
    attention: Tensor,
    boxes: Sequence[Box],
    image_size: Sequence[int],
) -> Tensor:
    """Context where the attention is low, detail where it is high (HRDA).

    ``up((1 - a) context) + up(a) detail``, with a = 0 outside of the windows. Where windows overlap, their logits are
    averaged. With image sizes and boxes that are no multiples of twice the stride of the logits, windows lie at the
    nearest place of the grid.

    Args:
        context: Logits of the whole images at half size, shape (B, C, h, w).
        detail: Logits of windows at full size, window after window, shape (windows * B, C, h_d, w_d).
        attention: In [0, 1], shape (B, C, h, w).
        boxes: Every window's (top, bottom, left, right) in pixels of the image, all of one size.
        image_size: (height, width) of the images.

    Returns:
        Shape (B, C, H, W) at the stride of the detail.
    """
    batch, classes, *grid = context.shape
    places = [
        _on_grid(
            [box[2 * axis : 2 * axis + 2] for box in boxes],
            image_size[axis],
            detail.shape[2 + axis],
        )
        for axis in (0, 1)
    ]
    canvas = [size for _, size in places]
    total = context.new_zeros(batch, classes, *canvas)
    count = context.new_zeros(1, 1, *canvas)
    mask = context.new_zeros(1, 1, *grid)
    rows, columns = (starts for starts, _ in places)
    for window, box, top, left in zip(detail.split(batch), boxes, rows, columns, strict=True):
        place = (..., slice(top, top + window.shape[2]), slice(left, left + window.shape[3]))
        total[place] += window
        count[place] += 1
        scales = [cells / pixels for cells, pixels in zip(grid, image_size, strict=True)]
        first, last, begin, end = (
            round(edge * scale)
            for edge, scale in zip(box, (scales[0],) * 2 + (scales[1],) * 2, strict=True)
        )
        mask[..., first:last, begin:end] = 1
    attention = attention * mask
    lifted, shares = (
        resize(each, size=tuple(canvas), mode="bilinear", align_corners=False)
        for each in ((1 - attention) * context, attention)
    )
    return lifted + shares * total / count.clamp(min=1)


def _on_grid(spans: Sequence[Sequence[int]], length: int, cells: int) -> tuple[list[int], int]:
    """Where windows begin on the grid of their logits, along one axis, and how long the whole grid is."""
    pixels = spans[0][1] - spans[0][0]
    size = math.ceil(length * cells / pixels)
    starts = [
        size - cells if end == length else min(round(begin * cells / pixels), size - cells)
        for begin, end in spans
    ]
    return starts, size


@MODELS.register_module()
class HRDAHead(BaseModule):
    """Scale attention around any decode head (Hoyer et al., "HRDA", ECCV 2022).

    `HRDASegmentor` builds it. What the classifier reads, for further heads, is that of the context.

    Args:
        decode_head: Config of any MMSegmentation decode head, for context and detail alike.
        scale_attention: What is different in the head of the attention, whose outputs are one per class.
        detail_weight: Share of the detail's own loss, in [0, 1).
        init_cfg: MMEngine weight initialization.

    Raises:
        ValueError: `detail_weight` is outside its range.
    """

    def __init__(
        self,
        *,
        decode_head: dict,
        scale_attention: dict | None = None,
        detail_weight: float = 0.1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not 0 <= detail_weight < 1:
            raise ValueError(f"detail_weight must be in [0, 1), found {detail_weight}.")
        self.decode_head = MODELS.build(decode_head)
        self.scale_attention = MODELS.build({**decode_head, **(scale_attention or {})})
        self.detail_weight = detail_weight
        # The attributes that EncoderDecoder reads from its decode head.
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
        self.threshold = self.decode_head.threshold
        self.ignore_index = self.decode_head.ignore_index

    @property
    def conv_seg(self) -> Any:
        """The classifier."""
        return self.decode_head.conv_seg

    def forward(self, inputs: FeatureMaps) -> Tensor:
        """Fused logits, shape (B, C, h, w); those of the detail are in ``inputs.detail`` afterwards.

        Args:
            inputs: What `HRDASegmentor.extract_feat` gives.

        Raises:
            ValueError: These maps have no detail.
        """
        detail = getattr(inputs, "detail", None)
        if detail is None:
            raise ValueError(
                "HRDAHead reads the maps of HRDASegmentor, found maps without detail: give the segmentor "
                "type='HRDASegmentor', and the head that it shall wrap as its decode_head."
            )
        context = self.decode_head(inputs)
        detail.logits = self.decode_head(detail.maps)
        attention = torch.sigmoid(self.scale_attention(inputs))
        return fuse_scales(context, detail.logits, attention, detail.boxes, detail.image_size)

    def loss(self, inputs: FeatureMaps, batch_data_samples: list, train_cfg: dict) -> dict:
        """Losses of the fused prediction and of the detail, see `losses_with_detail`.

        Args:
            inputs: What `HRDASegmentor.extract_feat` gives.
            batch_data_samples: Samples with ``gt_sem_seg``.
            train_cfg: MMSegmentation's training config; not read.

        Returns:
            Named losses and diagnostics.
        """
        return losses_with_detail(self, self(inputs), inputs.detail, batch_data_samples)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict:
        """Losses of the wrapped head on logits."""
        return self.decode_head.loss_by_feat(seg_logits, batch_data_samples)

    def predict(self, inputs: FeatureMaps, batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """The fused prediction, logits of shape (B, C, H, W)."""
        return self.predict_by_feat(self(inputs), batch_img_metas)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at the size of the images."""
        return self.decode_head.predict_by_feat(seg_logits, batch_img_metas)
