"""CRST: confidence regularization of self-training, its variant MRKLD.

Paper: Zou et al., "Confidence Regularized Self-Training" (ICCV 2019), table 1 (MRKLD). Default: factor 0.1.
"""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.losses.rank_sums import mean_over_ranks


def divergence_from_uniform(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """KL divergence from the uniform distribution at every labeled pixel, up to a constant.

    Args:
        logits: Shape (B, C, H, W).
        labels: Shape (B, H, W).
        ignore_index: Label of pixels that do not count.

    Returns:
        ``mean_c(-log p_c)``, shape (B, H, W); 0 where a pixel does not count.
    """
    return -F.log_softmax(logits.float(), dim=1).mean(dim=1) * (labels != ignore_index)


@MODELS.register_module()
class ModelRegularizationTerm(AdaptationTerm):
    """MRKLD on pseudo-labeled target pixels: keeps the model from becoming certain of its own labels.

    ``weight * mean(-sum_c log p_c / C)`` over the labeled pixels of all ranks. The released code divides by their
    number without a guard; here a batch without labels gives zero.

    Args:
        weight: Factor, >= 0; CRST uses 0.1.
    """

    def __init__(self, *, weight: float = 0.1) -> None:
        super().__init__(domains=("target",), weight=weight)

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The regularizer."""
        labels = step.domains["target"].labels
        ignored = step.ignore_index
        total = divergence_from_uniform(step.full_size_logits("target"), labels, ignored).sum()
        mean = mean_over_ranks(total, (labels != ignored).sum().to(total))
        return {"loss_mrkld": self.weight * mean}
