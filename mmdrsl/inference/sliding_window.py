"""MMSegmentation's sliding windows at a cost that grows with the image, not with its square."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor


def add_in_place(segmentor: Any) -> None:
    """Let a segmentor's sliding windows add their logits in place.

    `EncoderDecoder.slide_inference` pads the logits of every window to the size of the image. For a large image that
    takes longer than the network. The result has the same bits.

    Args:
        segmentor: An ``EncoderDecoder``; changed for as long as it lives.
    """
    segmentor.slide_inference = MethodType(_slide, segmentor)


def _slide(segmentor: Any, inputs: Tensor, metas: list[dict]) -> Tensor:
    """Mean logits of all windows that cover a pixel, (B, C, H, W), of images (B, 3, H, W)."""
    size = tuple(inputs.shape[2:])
    (height, width), strides = segmentor.test_cfg.crop_size, segmentor.test_cfg.stride
    total = inputs.new_zeros((len(inputs), segmentor.out_channels, *size))
    count = inputs.new_zeros((1, 1, *size))
    for top in _starts(size[0], height, strides[0]):
        for left in _starts(size[1], width, strides[1]):
            part = (..., slice(top, top + height), slice(left, left + width))
            # Decode heads resize to this shape.
            metas[0]["img_shape"] = inputs[part].shape[2:]
            total[part] += segmentor.encode_decode(inputs[part], metas)
            count[part] += 1
    return total.div_(count)


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin; the last one ends at the border, a window that is too long is cut."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]
