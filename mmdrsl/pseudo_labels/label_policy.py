"""What a label policy sees of an image, and what it decides: which pixels get which label."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

from mmdrsl.pseudo_labels.score_histogram import ScoreHistogram

IGNORE_INDEX = 255


class LabelPolicy(ABC):
    """Chooses labels from class probabilities: pure computation, no state.

    Attributes:
        second_head: Head whose probabilities are pooled with those of the segmentation head: ``auxiliary`` or the name
            of a head in the adaptor; None for none.
        second_weight: Its weight in the pool, in [0, 1]: see `pool_probabilities`.
    """

    second_head: str | None = None
    second_weight: float = 0.0

    @abstractmethod
    def scores(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Candidate class of each pixel (h, w), int64, and how good it is (h, w), in [0, 1].

        Args:
            probabilities: Shape (C, h, w), sums to 1 over C.
        """

    @abstractmethod
    def thresholds(self, histogram: ScoreHistogram) -> Tensor:
        """Smallest score per class, shape (C,), from the scores of all images."""

    def select(self, probabilities: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the labels of one image.

        Args:
            probabilities: Shape (C, h, w).
            thresholds: Shape (C,).

        Returns:
            Labels (h, w), uint8, 255 where no label is given, and the probability of the candidate class (h, w).
        """
        predicted, scores = self.scores(probabilities)
        confidence = probabilities.gather(0, predicted[None])[0]
        labels = torch.where(scores >= thresholds[predicted], predicted, IGNORE_INDEX)
        return labels.to(torch.uint8), confidence

    def settings(self) -> dict:
        """Name and arguments as plain types, for the manifest."""
        return {"policy": type(self).__name__, **vars(self)}


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
        raise TypeError(f"labeler.policy is a {type(policy).__name__}, expected a LabelPolicy.")
    return policy
