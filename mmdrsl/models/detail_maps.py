"""Windows of the images at full size, beside the whole images at half size: their maps and their loss (HRDA)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

Box = tuple[int, int, int, int]
"""A window's (top, bottom, left, right) in pixels of the image; bottom and right are outside."""


@dataclass
class DetailMaps:
    """What backbone, neck and decode head make of windows.

    Attributes:
        maps: Feature maps, each (windows * B, ...), window after window.
        boxes: Where the windows lie, the same in all images. In training it is one.
        image_size: (height, width) of the images.
        logits: Logits of the windows, (windows * B, C, h, w); None until the decode head has run.
    """

    maps: tuple[Tensor, ...]
    boxes: list[Box]
    image_size: tuple[int, int]
    logits: Tensor | None = None

    def _each(self, change: Callable[[Tensor], Tensor]) -> DetailMaps:
        logits = None if self.logits is None else change(self.logits)
        return DetailMaps(
            tuple(change(each) for each in self.maps), self.boxes, self.image_size, logits
        )

    def part(self, images: slice) -> DetailMaps:
        """Windows of some of the images."""
        count = len(self.boxes)
        return self._each(lambda x: x.unflatten(0, (count, -1))[:, images].flatten(0, 1))

    def detach(self) -> DetailMaps:
        """Maps through which no gradient flows."""
        return self._each(torch.Tensor.detach)


def half_size(images: Tensor) -> Tensor:
    """Images at half their size, as the context reads them.

    Args:
        images: Shape (B, 3, H, W).

    Returns:
        Shape (B, 3, ceil(H / 2), ceil(W / 2)).
    """
    size = [(side + 1) // 2 for side in images.shape[2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def sliding_boxes(size: tuple[int, int], window: tuple[int, int]) -> list[Box]:
    """Windows that cover an image, each half over the one before it; the last ones end at the border.

    Args:
        size: (height, width) of the image.
        window: (height, width) of the windows, at most those of the image.
    """
    starts = []
    for length, side in zip(size, window, strict=True):
        last = length - side
        starts.append([*range(0, last, max(1, side // 2)), last])
    return [
        (top, top + window[0], left, left + window[1]) for top in starts[0] for left in starts[1]
    ]


def inside(box: Box | None) -> tuple:
    """Index of a window's pixels in the last two dimensions; all of them where None."""
    return (...,) if box is None else (..., slice(box[0], box[1]), slice(box[2], box[3]))


def with_detail(
    share: float,
    logits: Tensor,
    detail: DetailMaps | None,
    values: Callable[[Tensor, Box | None], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Losses of fused logits, and of the detail where there is one (HRDA).

    ``(1 - share) loss(fused, labels) + share loss(detail, labels inside the window)``.

    Args:
        share: Share of the detail, ``detail_weight`` of `HRDAHead`.
        logits: Fused logits.
        detail: The windows; losses want one. None leaves the losses of `logits` as they are.
        values: Named losses and diagnostics of logits and of the window that they are about.

    Returns:
        The values, and losses of the detail as ``detail.<name>``.
    """
    found = values(logits, None)
    if detail is None or detail.logits is None or len(detail.boxes) != 1:
        return found
    scaled = {name: (1 - share) * v if "loss" in name else v for name, v in found.items()}
    for name, value in values(detail.logits, detail.boxes[0]).items():
        if "loss" in name:
            scaled[f"detail.{name}"] = share * value
    return scaled


def losses_with_detail(
    head: Any, logits: Tensor, detail: DetailMaps | None, samples: list
) -> dict[str, Tensor]:
    """A decode head's own losses, with those of the detail where there is one.

    Args:
        head: The decode head; of `HRDAHead` where there is a detail.
        logits: Its logits, (B, C, h, w).
        detail: The windows.
        samples: Samples with ``gt_sem_seg``.

    Returns:
        Named losses and diagnostics.
    """

    def values(part: Tensor, box: Box | None) -> dict[str, Tensor]:
        return dict(head.loss_by_feat(part, [_cut(sample, box) for sample in samples]))

    return with_detail(getattr(head, "detail_weight", 0.0), logits, detail, values)


def _cut(sample: Any, box: Box | None) -> Any:
    """A sample's labels inside a window."""
    if box is None:
        return sample
    labels = sample.gt_sem_seg.data[inside(box)]
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=sample.metainfo)
