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


def stack_weights(samples: Sequence) -> Tensor:
    """Stack the pseudo-label weights of data samples.

    Args:
        samples: Data samples with ``gt_sem_seg`` and ``gt_weight_map``, as `PackWeightedSegInputs` makes them.

    Returns:
        Weights in [0, 1], shape (B, H, W), float32; zero where the preprocessor padded the labels.

    Raises:
        ValueError: A sample has no weights.
    """
    maps = []
    for sample in samples:
        if "gt_weight_map" not in sample:
            raise ValueError(
                "A term weighs pseudo labels, but a sample of the batch has no weights: in the target's pipeline put "
                "LoadPseudoLabelWeights after LoadPseudoLabels and PackWeightedSegInputs in place of PackSegInputs."
            )
        weights = sample.gt_weight_map.data
        height, width = sample.gt_sem_seg.data.shape[-2:]
        padding = (0, width - weights.shape[-1], 0, height - weights.shape[-2])
        maps.append(F.pad(weights, padding))
    return torch.cat(maps)


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
