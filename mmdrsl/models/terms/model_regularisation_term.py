"""Confidence regularisation of self-training (CRST, Zou et al. 2019)."""

from __future__ import annotations

from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import functional
from .adaptation_term import AdaptationStep, AdaptationTerm


@MODELS.register_module()
class ModelRegularisationTerm(AdaptationTerm):
    """MRKLD on pseudo-labelled target pixels: keeps the model from becoming certain of its own labels.

    Args:
        weight: Factor, >= 0; CRST uses 0.1.
    """

    def __init__(self, *, weight: float = 0.1) -> None:
        super().__init__()
        self.weight = weight

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
        return {"loss_mrkld": self.weight * functional.model_regulariser(logits, labels)}
