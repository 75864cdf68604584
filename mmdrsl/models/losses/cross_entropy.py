"""Cross entropy in both directions with class and pixel weights, as pure functions."""

from __future__ import annotations

import torch
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
        The sum, connected to the logits, and the sum of the class weights of all labelled pixels; both scalars.
    """
    per_pixel = F.cross_entropy(
        logits.float(), labels, weight=class_weight, ignore_index=ignore_index, reduction="none"
    )
    if pixel_weight is not None:
        per_pixel = per_pixel * pixel_weight
    return per_pixel.sum(), _total_weight(labels, class_weight, ignore_index).to(per_pixel)


def reverse_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    log_zero: float = -4.0,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Sum of the reverse cross entropy ``-sum_c p_c log q_c`` (Wang et al. 2019, equation 5), and its divisor.

    With one-hot labels q, log 0 stands for `log_zero`, which makes it ``-log_zero (1 - p_label)``: bounded, and so less
    moved by wrong labels than cross entropy.

    Args:
        logits: Shape (B, C, H, W).
        labels: Shape (B, H, W).
        log_zero: Stand-in for log 0, < 0.
        pixel_weight: As for `weighted_cross_entropy`.
        ignore_index: Label of pixels that count nowhere.

    Returns:
        The sum, connected to the logits, and the number of labelled pixels; both scalars.
    """
    valid = labels != ignore_index
    probabilities = logits.float().softmax(dim=1)
    own = probabilities.gather(1, torch.where(valid, labels, 0)[:, None])[:, 0]
    per_pixel = -log_zero * (1 - own) * valid
    if pixel_weight is not None:
        per_pixel = per_pixel * pixel_weight
    return per_pixel.sum(), _total_weight(labels, None, ignore_index).to(per_pixel)


def _total_weight(labels: Tensor, class_weight: Tensor | None, ignore_index: int) -> Tensor:
    """Sum of the class weights of the labelled pixels; their number without weights."""
    valid = labels[labels != ignore_index]
    return valid.new_tensor(valid.numel()) if class_weight is None else class_weight[valid].sum()
