"""Label maps of a batch: stacking them and bringing them to the resolution of a feature map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def stack_labels(samples: Sequence) -> Tensor:
    """Stack the label maps of data samples; shape (B, H, W), int64."""
    return torch.cat([sample.gt_sem_seg.data for sample in samples]).long()


def stack_confidences(samples: Sequence, size: Sequence[int]) -> Tensor:
    """Stack the confidences of pseudo labels.

    Args:
        samples: Data samples with ``gt_confidence``, 0..255, shape (1, h, w) each.
        size: (B, H, W) of the stacked label maps, which a preprocessor may have padded at the right and bottom.

    Returns:
        Shape (B, H, W), in [0, 1]; 0 where padded.

    Raises:
        ValueError: A sample has no confidence.
    """
    stacked = []
    for sample in samples:
        if "gt_confidence" not in sample:
            raise ValueError(
                "A sample has no confidence of its pseudo label; put LoadPseudoLabelConfidence after LoadPseudoLabels "
                "and PackTargetInputs in the place of PackSegInputs in the target's pipeline."
            )
        values = sample.gt_confidence.data.float() / 255
        padding = (0, size[2] - values.shape[2], 0, size[1] - values.shape[1])
        stacked.append(F.pad(values, padding))
    return torch.cat(stacked)


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Bring labels to a feature map's resolution by nearest neighbour.

    Args:
        labels: Shape (B, H, W), integers.
        size: (height, width) of the result.

    Returns:
        Shape (B, height, width), int64.
    """
    # "nearest-exact" samples cell centres; "nearest" would shift labels by half a cell against the features.
    resized = F.interpolate(labels[:, None].float(), size=tuple(size), mode="nearest-exact")
    return resized[:, 0].long()
