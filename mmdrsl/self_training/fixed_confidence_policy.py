"""Pseudo labels above one fixed confidence."""

from __future__ import annotations

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from .label_policy import LabelPolicy, Prediction
from .score_histogram import ScoreHistogram


@TASK_UTILS.register_module()
class FixedConfidencePolicy(LabelPolicy):
    """Keeps the most probable class wherever its probability reaches a threshold.

    Args:
        threshold: Smallest probability, in (0, 1].

    Raises:
        ValueError: The threshold is outside its range.
    """

    def __init__(self, *, threshold: float = 0.9) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], found {threshold}.")
        self.threshold = threshold

    @property
    def needs_statistics(self) -> bool:
        """One pass is enough."""
        return False

    def scores(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Most probable class and its probability."""
        confidence, predicted = prediction.probabilities.max(dim=0)
        return predicted, confidence

    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Return the same threshold for every class."""
        return torch.full((len(histogram.counts),), self.threshold)
