"""Pseudo labels learned the less, the more two classifiers disagree (Seg-Uncertainty, Zheng and Yang 2021)."""

from __future__ import annotations

from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from ..losses.segmentation_losses import mean_over_ranks
from ..losses.variance_rectification import rectified_cross_entropy
from .adaptation_term import AdaptationStep, AdaptationTerm
from .outputs import full_size_logits


@MODELS.register_module()
class VarianceRectificationTerm(AdaptationTerm):
    """Cross entropy of both classifiers on pseudo labels, rectified by their disagreement.

    With ``D_p = KL(q || p)``, q being the other classifier, each of the two has::

        mean(e^-D_p CE(p, label)) + mean(D_p)

    and the auxiliary one counts half. Gradients go through D into both. The released code takes both means over all
    pixels; here they are over labelled ones, see `rectified_cross_entropy`. It also trains its second stage on target
    images alone, raises the weight of classes with few pixels in a batch (factor 7 in its command, 2 by default), and
    makes labels without a threshold for GTA5, of a mean score of at least 0.9 for SYNTHIA; here batches hold both
    domains and labels are those of every other method of this project.

    Args:
        head: Name of the second classifier in ``model.heads``.
        weight: Factor of all, >= 0.
        auxiliary_weight: Factor of the second classifier's own loss beside that of the decode head, >= 0.
        synchronise: Average over the labelled pixels of all ranks instead of each rank's own.
    """

    def __init__(
        self,
        *,
        head: str = "auxiliary",
        weight: float = 1.0,
        auxiliary_weight: float = 0.5,
        synchronise: bool = False,
    ) -> None:
        super().__init__()
        self.head = head
        self.weight = weight
        self.auxiliary_weight = auxiliary_weight
        self.synchronise = synchronise

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Losses of both classifiers and their mean disagreement; empty where the batch holds no target image."""
        batch = step.domains.get("target")
        if batch is None:
            return {}
        segmentor: Any = step.segmentor
        main, auxiliary = (full_size_logits(step, "target", head) for head in (None, self.head))
        labels, ignored = batch.labels, segmentor.decode_head.ignore_index
        values = {}
        for name, own, other, weight in (
            ("main", main, auxiliary, 1.0),
            ("auxiliary", auxiliary, main, self.auxiliary_weight),
        ):
            rectified, variance, count = rectified_cross_entropy(own, other, labels, ignored)
            total = rectified + variance
            mean = mean_over_ranks(total, count, synchronise=self.synchronise)
            values[f"loss_{name}"] = self.weight * weight * mean
            values[f"disagreement_{name}"] = variance.detach() / count.clamp(min=1)
        return values
