"""Label maps of a batch: stacking them and bringing them to the resolution of a feature map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def stack_labels(samples: Sequence) -> Tensor:
    """Stack the label maps of data samples; shape (B, H, W), int64."""
    return torch.cat([sample.gt_sem_seg.data for sample in samples]).long()


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Bring labels to a feature map's resolution: the label at the center of each cell.

    Args:
        labels: Shape (B, H, W), integers.
        size: (height, width) of the result.

    Returns:
        Shape (B, height, width), int64.
    """
    if labels.shape[1:] == tuple(size):
        return labels.long()
    # "nearest-exact" samples cell centers; "nearest" would shift labels by half a cell against the features.
    resized = F.interpolate(labels[:, None].float(), size=tuple(size), mode="nearest-exact")
    return resized[:, 0].long()


def check_rows(rows: Sequence[int]) -> tuple[int, int]:
    """Rows to leave out at the top and at the bottom.

    Raises:
        ValueError: These are not two numbers >= 0.
    """
    if len(rows) != 2 or min(rows) < 0:
        raise ValueError(
            f"ignored_rows must be two numbers >= 0, of the top and of the bottom, found {rows}."
        )
    return rows[0], rows[1]


def without_border_rows(weights: Tensor, rows: tuple[int, int]) -> Tensor:
    """Weights of pixels, 0 in rows at the top and at the bottom.

    Args:
        weights: Shape (B, H, W); they stay as they are.
        rows: How many at the top and at the bottom.

    Returns:
        Shape (B, H, W).
    """
    if rows == (0, 0):
        return weights
    height = weights.shape[1]
    place = torch.arange(height, device=weights.device)
    inner = (place >= rows[0]) & (place < height - rows[1])
    return weights * inner[:, None]
