"""Registered losses on logits and labels: cross entropy whose class weights work, and its reverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from .cross_entropy import reverse_cross_entropy, weighted_cross_entropy


def mean_over_ranks(total: Tensor, divisor: Tensor, *, synchronise: bool) -> Tensor:
    """Divide a sum, by this rank's own divisor or by the mean of all ranks'.

    Args:
        total: The sum.
        divisor: Its divisor, >= 0.
        synchronise: Use the mean of the ranks' divisors. With gradients averaged over the ranks this is the gradient of
            one process with the joint batch, however unevenly labels are spread; it costs one small reduction.

    Returns:
        A scalar; a connected zero where the divisor is 0.
    """
    divisor = divisor.detach().clone()
    if synchronise:
        all_reduce(divisor, op="mean")
    return total / torch.where(divisor > 0, divisor, torch.ones_like(divisor))


@MODELS.register_module()
class WeightedCrossEntropyLoss(nn.Module):
    """Cross entropy averaged over the labelled pixels, with or without class weights.

    MMSegmentation's own raises IndexError with ``class_weight`` and ``avg_non_ignore=True``, and without the latter
    divides by ignored pixels too. This one equals ``torch.nn.functional.cross_entropy``, and is 0 where no pixel is
    labelled.

    Args:
        class_weight: Weight per class, >= 0; None for none.
        loss_weight: Factor, >= 0.
        synchronise: Average over the labelled pixels of all ranks instead of each rank's own.
        loss_name: Name of the value; it must begin with ``loss_``.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        synchronise: bool = False,
        loss_name: str = "loss_ce",
    ) -> None:
        super().__init__()
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        # A buffer follows the model to its device; it is no part of a checkpoint.
        self.register_buffer("class_weight", weights, persistent=False)
        self.loss_weight = loss_weight
        self.synchronise = synchronise
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
        return self.loss_weight * mean_over_ranks(total, divisor, synchronise=self.synchronise)


@MODELS.register_module()
class ReverseCrossEntropyLoss(nn.Module):
    """Reverse cross entropy (Wang et al. 2019), to be added to cross entropy on noisy labels.

    Args:
        log_zero: Stand-in for the logarithm of 0, < 0.
        loss_weight: Factor, >= 0; 0.1 to 1 beside a cross entropy of weight 1 or 0.1.
        synchronise: Average over the labelled pixels of all ranks instead of each rank's own.
        loss_name: Name of the value; it must begin with ``loss_``.

    Raises:
        ValueError: `log_zero` is not negative.
    """

    def __init__(
        self,
        *,
        log_zero: float = -4.0,
        loss_weight: float = 0.1,
        synchronise: bool = False,
        loss_name: str = "loss_rce",
    ) -> None:
        super().__init__()
        if log_zero >= 0:
            raise ValueError(f"log_zero must be negative, found {log_zero}.")
        self.log_zero = log_zero
        self.loss_weight = loss_weight
        self.synchronise = synchronise
        self.loss_name = loss_name

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Mean loss; arguments and result as for `WeightedCrossEntropyLoss`."""
        total, divisor = reverse_cross_entropy(
            logits,
            labels,
            log_zero=self.log_zero,
            pixel_weight=weight,
            ignore_index=ignore_index,
        )
        return self.loss_weight * mean_over_ranks(total, divisor, synchronise=self.synchronise)
