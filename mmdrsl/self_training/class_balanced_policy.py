"""Class-balanced pseudo labels (CBST, Zou et al. 2018; CRST, Zou et al. 2019): pure computation on probabilities."""

from __future__ import annotations

import numpy as np

IGNORE_INDEX = 255


class ConfidenceHistogram:
    """Counts of confidences per predicted class, so that thresholds need no list of pixels.

    Args:
        num_classes: C.
        num_bins: Resolution on [0, 1].
    """

    def __init__(self, *, num_classes: int, num_bins: int = 1000) -> None:
        self.counts = np.zeros((num_classes, num_bins), dtype=np.int64)

    def add(self, probabilities: np.ndarray) -> None:
        """Count the pixels of one image.

        Args:
            probabilities: Shape (C, H, W), in [0, 1].
        """
        num_classes, num_bins = self.counts.shape
        predicted = probabilities.argmax(axis=0)
        confidence = probabilities.max(axis=0).astype(np.float64)
        bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
        flat = np.bincount((predicted * num_bins + bins).ravel(), minlength=self.counts.size)
        self.counts += flat.reshape(num_classes, num_bins)

    def thresholds(self, portion: float, lowest: float = 0.3, highest: float = 0.95) -> np.ndarray:
        """Confidence above which the top share of each class's predicted pixels lies.

        Args:
            portion: Share of pixels to keep per predicted class, in (0, 1].
            lowest: Smallest threshold; the class keeps fewer pixels than its share where it is that uncertain.
            highest: Largest threshold; a very certain class keeps more than its share.

        Returns:
            Shape (C,). A class that was never predicted gets 1, so nothing is labelled with it by mistake.

        Raises:
            ValueError: The portion is outside (0, 1].
        """
        if not 0 < portion <= 1:
            raise ValueError(f"portion must be in (0, 1], found {portion}.")
        num_bins = self.counts.shape[1]
        totals = self.counts.sum(axis=1)
        # Pixels at or above the lower edge of each bin.
        at_least = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        wanted = np.ceil(portion * totals)[:, None]
        # The highest bin edge that still keeps the wanted share.
        edges = (at_least >= wanted).sum(axis=1) - 1
        thresholds = np.clip(edges / num_bins, lowest, highest)
        return np.where(totals > 0, thresholds, 1.0)


def select_labels(
    probabilities: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose labels by the largest ratio of probability to class threshold (CBST).

    A pixel's label can differ from its most probable class: a rare class with a low threshold may win.

    Args:
        probabilities: Shape (C, H, W), in [0, 1].
        thresholds: Shape (C,), > 0.

    Returns:
        Labels (H, W) uint8 with 255 where no ratio reaches 1, and the probability of the chosen class (H, W).
    """
    ratios = probabilities / thresholds[:, None, None]
    chosen = ratios.argmax(axis=0)
    keep = np.take_along_axis(ratios, chosen[None], axis=0)[0] >= 1
    confidence = np.take_along_axis(probabilities, chosen[None], axis=0)[0]
    return np.where(keep, chosen, IGNORE_INDEX).astype(np.uint8), confidence
