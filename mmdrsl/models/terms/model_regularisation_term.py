"""Confidence regularisation of self-training (CRST, Zou et al. 2019)."""

from __future__ import annotations

from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import functional
from ..losses.segmentation_losses import mean_over_ranks
from .adaptation_term import AdaptationStep, AdaptationTerm

IGNORE_INDEX = 255


@MODELS.register_module()
class ModelRegularisationTerm(AdaptationTerm):
    """MRKLD on pseudo-labelled target pixels: keeps the model from becoming certain of its own labels.

    ``weight * mean(-sum_c log p_c / C)`` over labelled pixels. The released code divides by their number without a
    guard; here a batch without labels gives zero.

    Args:
        weight: Factor, >= 0; CRST uses 0.1.
        synchronise: Average over the labelled pixels of all ranks instead of each rank's own.
    """

    def __init__(self, *, weight: float = 0.1, synchronise: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.synchronise = synchronise

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The regulariser; empty where the batch holds no target image."""
        batch = step.domains.get("target")
        if batch is None:
            return {}
        labels = batch.labels
        logits = resize(
            batch.logits,
            size=labels.shape[1:],
            mode="bilinear",
            align_corners=step.segmentor.align_corners,
        )
        value = functional.model_regulariser(logits, labels, IGNORE_INDEX)
        if self.synchronise:
            count = (labels != IGNORE_INDEX).sum().float()
            value = mean_over_ranks(value * count, count, synchronise=True)
        return {"loss_mrkld": self.weight * value}
