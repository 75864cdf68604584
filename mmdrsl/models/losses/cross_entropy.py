"""Cross entropy with class and pixel weights, as pure functions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Sum of the weighted cross entropy, and what it is to be divided by for a mean.

    Args:
        logits: Shape (B, C, H, W).
        labels: Shape (B, H, W).
        class_weight: Shape (C,), >= 0. The mean is over these weights, as in PyTorch.
        pixel_weight: Shape (B, H, W), in [0, 1]. It scales a pixel's loss and leaves the divisor alone, so that an
            image of doubtful labels counts less.
        ignore_index: Label of pixels that count nowhere.

    Returns:
        The sum, connected to the logits, and the sum of the class weights of all labeled pixels; both scalars.
    """
    per_pixel = F.cross_entropy(
        logits.float(), labels, weight=class_weight, ignore_index=ignore_index, reduction="none"
    )
    if pixel_weight is not None:
        per_pixel = per_pixel * pixel_weight
    return per_pixel.sum(), _total_weight(labels, class_weight, ignore_index).to(per_pixel)


def _total_weight(labels: Tensor, class_weight: Tensor | None, ignore_index: int) -> Tensor:
    """Sum of the class weights of the labeled pixels; their number without weights."""
    valid = labels[labels != ignore_index]
    return valid.new_tensor(valid.numel()) if class_weight is None else class_weight[valid].sum()
