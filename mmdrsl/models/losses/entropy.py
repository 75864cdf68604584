"""Entropy of a segmentation, as pure functions (ADVENT, Vu et al. 2019)."""

from __future__ import annotations

import math

from torch import Tensor


def self_information(logits: Tensor) -> Tensor:
    """Weighted self-information maps ``-p log p / log C`` (ADVENT).

    Their sum over the classes is the entropy in units of its maximum. The released code adds 1e-30 inside the
    logarithm; the log-softmax needs no such guard.

    Args:
        logits: Shape (B, C, H, W), C >= 2.

    Returns:
        Shape (B, C, H, W), >= 0.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    return -log_probabilities.exp() * log_probabilities / math.log(logits.shape[1])


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the pixels in units of its maximum (MinEnt of ADVENT).

    Args:
        logits: Shape (B, C, H, W), C >= 2.

    Returns:
        A scalar in [0, 1].
    """
    return self_information(logits).sum(dim=1).mean()
