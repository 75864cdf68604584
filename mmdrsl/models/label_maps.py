"""Label maps of a batch: stacking them and bringing them to the resolution of a feature map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# No class has this id, whatever the number of classes.
MIXED = -1


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


def resize_weights(weights: Tensor, size: Sequence[int]) -> Tensor:
    """Bring weights (B, H, W) to (B, *size) by taking the pixel that `resize_labels` takes."""
    return F.interpolate(weights[:, None], size=tuple(size), mode="nearest-exact")[:, 0]


def resize_labels(labels: Tensor, size: Sequence[int], min_purity: float | None = None) -> Tensor:
    """Bring labels to a feature map's resolution, by nearest neighbour or by a clear majority.

    Args:
        labels: Shape (B, H, W), integers.
        size: (height, width) of the result.
        min_purity: None takes the label at the centre of each cell. Otherwise the label that covers at least this
            share of the cell, in (0.5, 1]; cells without one are ignored.

    Returns:
        Shape (B, height, width), int64; -1 for cells that are not pure enough.

    Raises:
        ValueError: `min_purity` is not in (0.5, 1].
    """
    if min_purity is None:
        # "nearest-exact" samples cell centres; "nearest" would shift labels by half a cell against the features.
        return _nearest(labels, size)
    if not 0.5 < min_purity <= 1:
        raise ValueError(f"min_purity must be in (0.5, 1], found {min_purity}.")
    height, width = size
    rows, columns = (-(-full // cells) for full, cells in zip(labels.shape[1:], size, strict=True))
    cells = _nearest(labels, (height * rows, width * columns))
    cells = cells.reshape(-1, height, rows, width, columns).transpose(2, 3).flatten(3)
    # Whatever covers more than half of a cell is its median.
    median = cells.median(dim=3).values
    purity = (cells == median[..., None]).float().mean(dim=3)
    return torch.where(purity >= min_purity, median, MIXED)


def _nearest(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize labels (B, H, W) by the nearest cell centre."""
    if labels.shape[1:] == tuple(size):
        return labels.long()
    resized = F.interpolate(labels[:, None].float(), size=tuple(size), mode="nearest-exact")
    return resized[:, 0].long()
