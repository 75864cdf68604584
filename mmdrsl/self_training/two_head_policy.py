"""Pseudo labels where two heads agree (after Seg-Uncertainty, Zheng and Yang 2021)."""

from __future__ import annotations

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from .entropy_policy import certainty
from .label_policy import LabelPolicy, Prediction, check_portion
from .score_histogram import ScoreHistogram


@TASK_UTILS.register_module()
class TwoHeadPolicy(LabelPolicy):
    """Keeps the share of every predicted class about which two heads disagree least.

    The disagreement is ``KL(second head || segmentation head)``. With the posterior of an `MMDLHead` as second head
    this is DRSL's choice; with the auxiliary head, Seg-Uncertainty's pair of classifiers.

    Args:
        portion: Share of pixels to keep per predicted class, in (0, 1].
        second_head: Name of an `MMDLHead` or of a classifier in ``model.heads``; ``auxiliary``, where they lack it, is
            the segmentor's own auxiliary head.

    Raises:
        ValueError: The share is outside its range.
    """

    def __init__(self, *, portion: float, second_head: str = "mmdl") -> None:
        check_portion(portion)
        self.portion = portion
        self.second_head = second_head

    @property
    def needs_statistics(self) -> bool:
        """Percentiles follow from all images."""
        return True

    def scores(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Most probable class of the segmentation head, and the certainty of the heads' disagreement."""
        return prediction.probabilities.argmax(dim=0), certainty(self._uncertainty(prediction))

    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Certainty of the last pixel kept per class; 1 for a class never predicted."""
        return histogram.thresholds(self.portion)

    def select(self, prediction: Prediction, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """As the base; the confidence is Seg-Uncertainty's weight ``exp(-disagreement)``."""
        labels, _ = super().select(prediction, thresholds)
        return labels, torch.exp(-self._uncertainty(prediction))

    @staticmethod
    def _uncertainty(prediction: Prediction) -> Tensor:
        if prediction.uncertainty is None:
            raise ValueError("TwoHeadPolicy needs a prediction with an uncertainty, found none.")
        return prediction.uncertainty
