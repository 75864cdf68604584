"""Seg-Uncertainty: pseudo labels are learned the less, the more two classifiers disagree.

Paper: Zheng and Yang, "Rectifying Pseudo Label Learning via Uncertainty Estimation for Domain Adaptive Semantic
Segmentation" (IJCV 2021), equations 6 to 9. Defaults: second classifier's loss counts half. The released code takes
both means over all pixels; here they are over labeled ones. It also trains its second stage on target images alone,
raises the weight of classes with few pixels in a batch (factor 7 in its command, 2 by default), and makes labels
without a threshold for GTA5, of a mean score of at least 0.9 for SYNTHIA; here batches hold both domains and labels
are those of every other method of this project.
"""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.losses.rank_sums import mean_over_ranks


def prediction_variance(logits: Tensor, other: Tensor) -> Tensor:
    """Disagreement of two classifiers ``D = KL(q || p)`` per pixel (equation 6).

    Args:
        logits: Logits of p, shape (B, C, H, W).
        other: Logits of q, same shape.

    Returns:
        Shape (B, H, W), in nats, >= 0; gradients reach both classifiers.
    """
    log_p, log_q = logits.float().log_softmax(dim=1), other.float().log_softmax(dim=1)
    return (log_q.exp() * (log_q - log_p)).sum(dim=1)


def rectified_cross_entropy(
    logits: Tensor, other: Tensor, labels: Tensor, ignore_index: int = 255
) -> tuple[Tensor, Tensor, Tensor]:
    """``sum e^-D CE(p, label) + D`` over labeled pixels (equation 9), in parts.

    The released code takes the means over all pixels, ignored ones included, which scales the first part down and
    trains on the disagreement of unlabeled pixels. Here only labeled pixels count, in sums and divisor.

    Args:
        logits: Logits of p, the classifier that learns the labels, shape (B, C, H, W).
        other: Logits of q, same shape.
        labels: Shape (B, H, W).
        ignore_index: Label of pixels that count nowhere.

    Returns:
        Sums over labeled pixels of ``e^-D CE`` and of ``D``, connected to both logits and zero without labeled
        pixels, and the number of labeled pixels; all scalars.
    """
    valid = labels != ignore_index
    cross_entropy = F.cross_entropy(
        logits.float(), labels, ignore_index=ignore_index, reduction="none"
    )
    variance = prediction_variance(logits, other) * valid
    return (cross_entropy * (-variance).exp()).sum(), variance.sum(), valid.sum().to(variance)


@MODELS.register_module()
class RectifiedCrossEntropyTerm(AdaptationTerm):
    """Cross entropy of both classifiers on pseudo labels, rectified by their disagreement.

    With ``D_p = KL(q || p)``, q being the other classifier, each of the two has::

        mean(e^-D_p CE(p, label)) + mean(D_p)

    over the labeled pixels of all ranks, and the auxiliary one counts half. Gradients go through D into both.

    Args:
        head: Name of the second classifier in ``model.heads``.
        weight: Factor of all, >= 0.
        auxiliary_weight: Factor of the second classifier's own loss beside that of the decode head, >= 0.
    """

    def __init__(
        self, *, head: str = "auxiliary", weight: float = 1.0, auxiliary_weight: float = 0.5
    ) -> None:
        super().__init__(domains=("target",), weight=weight)
        self.head = head
        self.auxiliary_weight = auxiliary_weight

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Losses of both classifiers and their mean disagreement."""
        main, auxiliary = (step.full_size_logits("target", head) for head in (None, self.head))
        labels, ignored = (
            step.domains["target"].labels,
            step.ignore_index,
        )
        values = {}
        for name, own, other, weight in (
            ("main", main, auxiliary, 1.0),
            ("auxiliary", auxiliary, main, self.auxiliary_weight),
        ):
            rectified, variance, count = rectified_cross_entropy(own, other, labels, ignored)
            mean = mean_over_ranks(rectified + variance, count)
            values[f"loss_{name}"] = self.weight * weight * mean
            values[f"disagreement_{name}"] = variance.detach() / count.clamp(min=1)
        return values
