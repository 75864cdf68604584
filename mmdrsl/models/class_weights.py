"""Class weights of a segmentation head: those it was trained with, and probabilities as if it had none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdrsl.models.feature_maps import decode_heads, own_losses


def class_weights_of(segmentor: Any) -> Tensor:
    """Class weights of the cross entropy with which a segmentation head is trained.

    Args:
        segmentor: The segmentor.

    Returns:
        Shape (C,), float32.

    Raises:
        ValueError: Its losses have none.
    """
    decode_head = decode_heads(segmentor)[-1]
    for loss in own_losses(decode_head):
        weights = getattr(loss, "class_weight", None)
        if weights is not None:
            return torch.as_tensor(weights, dtype=torch.float32)
    raise ValueError(
        f"undo_class_weights is set, and {type(decode_head).__name__} is trained without class weights: leave "
        "undo_class_weights out, or set model.class_weight."
    )


def without_class_weights(probabilities: Tensor, segmentor: Any) -> Tensor:
    """Divide probabilities by the class weights of a head's training, and bring their sum back to 1.

    Trained with weights ``w``, a head gives a class the probability ``w p / sum(w p)``: it predicts rare classes too
    often.

    Args:
        probabilities: Shape (B, C, H, W).
        segmentor: The segmentor that predicted them.

    Returns:
        Shape (B, C, H, W).

    Raises:
        ValueError: The head's losses have no class weights.
    """
    weights = class_weights_of(segmentor).to(probabilities)
    undone = probabilities / weights[:, None, None]
    return undone / undone.sum(dim=1, keepdim=True)
