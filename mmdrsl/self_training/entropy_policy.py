"""Pseudo labels where the prediction's entropy is low for its class."""

from __future__ import annotations

import math

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from .label_policy import LabelPolicy, Prediction, check_portion
from .score_histogram import ScoreHistogram


def certainty(uncertainty: Tensor) -> Tensor:
    """Map an uncertainty in [0, inf) to a score in (0, 1], finely near zero, where most pixels lie.

    Args:
        uncertainty: Any shape, >= 0.

    Returns:
        ``1 / (1 + sqrt(uncertainty))``, same shape.
    """
    return 1 / (1 + uncertainty.clamp(min=0).sqrt())


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes, divided by its largest value.

    Args:
        probabilities: Shape (C, ...), sums to 1 over C.

    Returns:
        Shape (...), in [0, 1].
    """
    entropy = -torch.xlogy(probabilities, probabilities).sum(dim=0)
    return (entropy / math.log(len(probabilities))).clamp(0, 1)


@TASK_UTILS.register_module()
class EntropyPolicy(LabelPolicy):
    """Keeps the share of every predicted class whose entropy is lowest (a percentile per class).

    Args:
        portion: Share of pixels to keep per predicted class, in (0, 1].

    Raises:
        ValueError: The share is outside its range.
    """

    def __init__(self, *, portion: float) -> None:
        check_portion(portion)
        self.portion = portion

    @property
    def needs_statistics(self) -> bool:
        """Percentiles follow from all images."""
        return True

    def scores(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Most probable class, and the certainty of its entropy."""
        predicted = prediction.probabilities.argmax(dim=0)
        return predicted, certainty(normalised_entropy(prediction.probabilities))

    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Certainty of the last pixel kept per class; 1 for a class never predicted."""
        return histogram.thresholds(self.portion)
