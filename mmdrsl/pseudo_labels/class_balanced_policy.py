"""Class-balanced pseudo labels (CBST, Zou et al. 2018; CRST, Zou et al. 2019)."""

from __future__ import annotations

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from mmdrsl.pseudo_labels.label_policy import IGNORE_INDEX, LabelPolicy
from mmdrsl.pseudo_labels.score_histogram import ScoreHistogram
from mmdrsl.renamed import renamed_arguments


@TASK_UTILS.register_module()
@renamed_arguments(second_share="second_weight")
class ClassBalancedPolicy(LabelPolicy):
    """Keeps the most confident share of every predicted class, and labels by the ratio of probability to threshold.

    A pixel's label can differ from its most probable class: a rare class with a low threshold may win.

    The two bounds are this project's own; CBST and CRST have none (``lowest_threshold`` near 0 and
    ``highest_threshold=1``), and docs/experiments.md says what the upper one does. Their released codes sort every
    fourth pixel, where here a histogram counts all; CRST labels at the single scale 0.9 with the mirror image, only
    tests in its last round, and tests at three scales, so that its published numbers are multi-scale.

    Args:
        portion: Share of pixels to keep per predicted class, in (0, 1].
        lowest_threshold: Lower bound of every threshold; a class keeps fewer pixels where it is that uncertain.
        highest_threshold: Upper bound; a very certain class keeps more than its share. Scores are counted in steps of
            0.001, so that no class has a threshold above 0.999.
        second_head: ``auxiliary``, or the name of an `MMDLHead` in the adaptor, whose probabilities are pooled with
            those of the segmentation head; None reads the segmentation head alone.
        second_weight: Share of the second head in the pool, in [0, 1]; 0 without one.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        portion: float,
        lowest_threshold: float = 0.3,
        highest_threshold: float = 0.95,
        second_head: str | None = None,
        second_weight: float = 0.0,
    ) -> None:
        if not 0 < portion <= 1:
            raise ValueError(f"portion must be in (0, 1], found {portion}.")
        if not 0 < lowest_threshold <= highest_threshold <= 1:
            raise ValueError(
                "Thresholds must keep 0 < lowest_threshold <= highest_threshold <= 1, found "
                f"{lowest_threshold} and {highest_threshold}."
            )
        if not 0 <= second_weight <= 1 or bool(second_weight) != bool(second_head):
            raise ValueError(
                "second_weight must be in (0, 1] with a second_head and 0 without one, found "
                f"second_weight={second_weight} and second_head={second_head!r}."
            )
        self.portion = portion
        self.lowest_threshold = lowest_threshold
        self.highest_threshold = highest_threshold
        self.second_head = second_head
        self.second_weight = second_weight

    def scores(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Most probable class and its probability."""
        confidence, predicted = probabilities.max(dim=0)
        return predicted, confidence

    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Confidence of the last pixel kept per class, within the bounds; 1 for a class never predicted."""
        clipped = histogram.thresholds(self.portion).clamp(
            self.lowest_threshold, self.highest_threshold
        )
        return torch.where(histogram.totals() > 0, clipped, torch.ones(()))

    def select(self, probabilities: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Label by the largest ratio p/t where it reaches 1 (CBST, equation 9)."""
        ratios, chosen = (probabilities / thresholds[:, None, None]).max(dim=0)
        confidence = probabilities.gather(0, chosen[None])[0]
        return torch.where(ratios >= 1, chosen, IGNORE_INDEX).to(torch.uint8), confidence
