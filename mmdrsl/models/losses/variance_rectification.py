"""Cross entropy on pseudo labels, rectified by two classifiers' disagreement (Seg-Uncertainty), as pure functions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def prediction_variance(logits: Tensor, other: Tensor) -> Tensor:
    """Disagreement of two classifiers ``D = KL(q || p)`` per pixel (Zheng and Yang 2021).

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
    """``sum e^-D CE(p, label) + D`` over labelled pixels (Zheng and Yang 2021), in parts.

    The released code takes the means over all pixels, ignored ones included, which scales the first part down and
    trains on the disagreement of unlabelled pixels. Here only labelled pixels count, in sums and divisor.

    Args:
        logits: Logits of p, the classifier that learns the labels, shape (B, C, H, W).
        other: Logits of q, same shape.
        labels: Shape (B, H, W).
        ignore_index: Label of pixels that count nowhere.

    Returns:
        Sums over labelled pixels of ``e^-D CE`` and of ``D``, connected to both logits and zero without labelled
        pixels, and the number of labelled pixels; all scalars.
    """
    valid = labels != ignore_index
    cross_entropy = F.cross_entropy(
        logits.float(), labels, ignore_index=ignore_index, reduction="none"
    )
    variance = prediction_variance(logits, other) * valid
    return (cross_entropy * (-variance).exp()).sum(), variance.sum(), valid.sum().to(variance)
