"""Two classifiers of the same pixels: pooling what they say, and where they agree. Pure functions."""

from __future__ import annotations

from torch import Tensor

# Probabilities that were stored in half precision may be exactly zero.
PROBABILITY_FLOOR = 1e-6


def pool_probabilities(first: Tensor, second: Tensor, second_weight: float) -> Tensor:
    """Logarithmic opinion pool of two classifiers (Genest and Zidek 1986): their weighted geometric mean, normalized.

    Args:
        first: Class probabilities, shape (C, ...).
        second: Those of the other classifier, same shape.
        second_weight: Weight of the second in [0, 1]; the first has the rest.

    Returns:
        Probabilities, same shape; they sum to 1 over C.
    """
    first_log, second_log = (each.clamp(min=PROBABILITY_FLOOR).log() for each in (first, second))
    return first_log.lerp(second_log, second_weight).softmax(dim=0)


def two_head_agreement(mode_probabilities: Tensor, segmentation_probabilities: Tensor) -> Tensor:
    """Whether both classifiers give a pixel the same class.

    Args:
        mode_probabilities: Class posterior of the modes, shape (B, C, ...).
        segmentation_probabilities: Class probabilities (or logits) of the segmentation head, same shape.

    Returns:
        Shape (B, ...), boolean.
    """
    return mode_probabilities.argmax(dim=1) == segmentation_probabilities.argmax(dim=1)
