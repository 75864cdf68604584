"""Entropy minimisation on target images (MinEnt of ADVENT, Vu et al. 2019)."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..losses.entropy import mean_entropy
from .adaptation_term import AdaptationStep, AdaptationTerm
from .outputs import full_size_logits


@MODELS.register_module()
class EntropyTerm(AdaptationTerm):
    """``weight * mean over pixels of -sum_c p log p / log C``; needs no labels of the target.

    Args:
        weight: Factor, >= 0; ADVENT's release has 1e-3 on the main output and 2e-4 on the auxiliary one.
        head: Classifier in ``model.heads``; None takes the segmentor's decode head.
    """

    def __init__(self, *, weight: float = 1e-3, head: str | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The loss and the mean entropy; empty where the batch holds no target image."""
        if "target" not in step.domains:
            return {}
        entropy = mean_entropy(full_size_logits(step, "target", self.head))
        return {"loss_entropy": self.weight * entropy, "entropy": entropy.detach()}
