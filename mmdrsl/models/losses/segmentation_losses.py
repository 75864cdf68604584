"""Cross entropy as a mean over the labeled pixels of all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.models.losses.cross_entropy import weighted_cross_entropy
from mmdrsl.models.losses.rank_sums import mean_over_ranks


@MODELS.register_module()
class WeightedCrossEntropyLoss(nn.Module):
    """Cross entropy averaged over the labeled pixels of all ranks, with or without class weights.

    On one rank it equals ``torch.nn.functional.cross_entropy``, and is 0 where no pixel is labeled. MMSegmentation's
    own takes means over the pixels of one rank, and raises IndexError with ``class_weight`` and
    ``avg_non_ignore=True``.

    Args:
        class_weight: Weight per class, >= 0; None for none.
        loss_weight: Factor, >= 0.
        loss_name: Name of the value; it must begin with ``loss_``.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_ce",
    ) -> None:
        super().__init__()
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        # A buffer follows the model to its device; it is no part of a checkpoint.
        self.register_buffer("class_weight", weights, persistent=False)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Mean loss.

        Args:
            logits: Shape (B, C, H, W).
            labels: Shape (B, H, W).
            weight: Weight per pixel in [0, 1], shape (B, H, W).
            ignore_index: Label of ignored pixels.

        Returns:
            A scalar.
        """
        total, divisor = weighted_cross_entropy(
            logits,
            labels,
            class_weight=self.class_weight,
            pixel_weight=weight,
            ignore_index=ignore_index,
        )
        return self.loss_weight * mean_over_ranks(total, divisor)
