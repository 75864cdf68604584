"""Class-balanced pseudo labels on which random crops agree (after MLSL, Iqbal and Ali 2020)."""

from __future__ import annotations

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from .class_balanced_policy import ClassBalancedPolicy
from .label_policy import IGNORE_INDEX, Prediction


@TASK_UTILS.register_module()
class CropConsistencyPolicy(ClassBalancedPolicy):
    """Keeps a class-balanced label only where enough of the random crops over the pixel predict the same class.

    The crops are drawn by the image's name. Their predictions enter the average of the views; a pixel that no crop
    covers has no label, since nothing was shown about it.

    Args:
        portion: Share of pixels to keep per predicted class, in (0, 1].
        lowest_threshold: Lower bound of every threshold.
        highest_threshold: Upper bound of every threshold.
        num_crops: Crops per image, >= 1.
        crop_share: Size of a crop as a share of the image's sides, in (0, 1].
        min_agreement: Share of the crops over a pixel that must predict the class of the average, in (0, 1].

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        portion: float,
        lowest_threshold: float = 0.3,
        highest_threshold: float = 0.95,
        num_crops: int = 6,
        crop_share: float = 0.7,
        min_agreement: float = 1.0,
    ) -> None:
        super().__init__(
            portion=portion, lowest_threshold=lowest_threshold, highest_threshold=highest_threshold
        )
        if num_crops < 1 or not 0 < crop_share <= 1 or not 0 < min_agreement <= 1:
            raise ValueError(
                "num_crops must be >= 1, crop_share and min_agreement in (0, 1], found "
                f"{num_crops}, {crop_share} and {min_agreement}."
            )
        self.num_crops = num_crops
        self.crop_share = crop_share
        self.min_agreement = min_agreement

    def select(self, prediction: Prediction, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Class-balanced labels without the pixels on which the crops disagree."""
        if prediction.agreement is None:
            raise ValueError("CropConsistencyPolicy needs a prediction with crops, found none.")
        labels, confidence = super().select(prediction, thresholds)
        # Agreement is a share of a few crops, kept in half precision.
        consistent = prediction.agreement >= self.min_agreement - 1e-3
        # It is that of the most probable class, which thresholds may pass over for a rarer one.
        consistent &= labels == prediction.probabilities.argmax(dim=0)
        return torch.where(consistent, labels, IGNORE_INDEX).to(torch.uint8), confidence
