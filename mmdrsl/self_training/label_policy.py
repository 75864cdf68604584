"""What a label policy sees of an image, and what it decides: which pixels get which label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from .score_histogram import ScoreHistogram

IGNORE_INDEX = 255


@dataclass
class Prediction:
    """What the network says about one image, averaged over the views.

    Attributes:
        probabilities: Shape (C, h, w), float32; sums to 1 over C.
        uncertainty: Disagreement of two heads in nats, shape (h, w), >= 0; None without a second head.
        agreement: Share of the crops over a pixel that predict its class, shape (h, w); None without crops.
    """

    probabilities: Tensor
    uncertainty: Tensor | None = None
    agreement: Tensor | None = None

    def pack(self) -> Tensor:
        """All maps as one tensor of shape (C + number of further maps, h, w), for storing and resizing."""
        maps = [each[None] for each in (self.uncertainty, self.agreement) if each is not None]
        return torch.cat([self.probabilities, *maps]) if maps else self.probabilities

    @staticmethod
    def unpack(packed: Tensor, *, num_classes: int, uncertainty: bool) -> Prediction:
        """Undo `pack`.

        Args:
            packed: Shape (C + further maps, h, w).
            num_classes: C.
            uncertainty: Whether the first further map is the uncertainty.

        Returns:
            The prediction.
        """
        further = list(packed[num_classes:])
        return Prediction(
            packed[:num_classes],
            uncertainty=further.pop(0) if uncertainty else None,
            agreement=further.pop(0) if further else None,
        )


class LabelPolicy(ABC):
    """Chooses labels from predictions: pure computation, no state.

    Attributes:
        second_head: Head whose disagreement with the segmentation head the policy reads: ``auxiliary`` or the name of
            an `MMDLHead` in the adaptor; None for none.
        second_share: Its share in the probabilities that the policy reads, in [0, 1]: see
            `functional.pool_probabilities`.
        num_crops: Random crops that the policy wants predicted beside the whole image.
        crop_share: Size of a crop as a share of the image's sides.
    """

    second_head: str | None = None
    second_share: float = 0.0
    num_crops: int = 0
    crop_share: float = 0.5

    @property
    @abstractmethod
    def needs_statistics(self) -> bool:
        """Whether thresholds depend on the other images."""

    @abstractmethod
    def scores(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Candidate class of each pixel (h, w), int64, and how good it is (h, w), in [0, 1]."""

    @abstractmethod
    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Smallest score per class, shape (C,), from the scores of all images."""

    def select(self, prediction: Prediction, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the labels of one image.

        Args:
            prediction: The prediction.
            thresholds: Shape (C,).

        Returns:
            Labels (h, w), uint8, 255 where no label is given, and the confidence (h, w), in [0, 1]: the probability of
            the candidate class, unless the policy says otherwise.
        """
        predicted, scores = self.scores(prediction)
        confidence = prediction.probabilities.gather(0, predicted[None])[0]
        labels = torch.where(scores >= thresholds[predicted], predicted, IGNORE_INDEX)
        return labels.to(torch.uint8), confidence

    def settings(self) -> dict:
        """Name and arguments as plain types, for the manifest."""
        return {"policy": type(self).__name__, **vars(self)}


def check_portion(portion: float) -> None:
    """Refuse a share outside (0, 1].

    Args:
        portion: Share of pixels to keep.

    Raises:
        ValueError: It is outside.
    """
    if not 0 < portion <= 1:
        raise ValueError(f"portion must be in (0, 1], found {portion}.")


def build_policy(cfg: dict | None, portion: float | None) -> LabelPolicy:
    """Build a policy from its config and a round's portion.

    Args:
        cfg: Config; without a type a `ClassBalancedPolicy`.
        portion: Share of pixels to label per predicted class; None for policies that take none.

    Returns:
        The policy.

    Raises:
        TypeError: The type is no label policy, or the policy takes a portion and got none, or the other way round.
    """
    arguments = {"type": "ClassBalancedPolicy", **(cfg or {})}
    if portion is not None:
        arguments["portion"] = portion
    try:
        policy = TASK_UTILS.build(arguments)
    except TypeError as error:
        raise TypeError(
            f"{arguments['type']} cannot be built from {arguments}: {error}. A round's 'portion' goes to policies that "
            "take one; leave it out of the rounds for the others."
        ) from error
    if not isinstance(policy, LabelPolicy):
        raise TypeError(f"labeller.policy is a {type(policy).__name__}, expected a LabelPolicy.")
    return policy
