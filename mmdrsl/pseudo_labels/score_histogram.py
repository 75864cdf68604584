"""Counts of scores per class, from which thresholds follow without a list of pixels."""

from __future__ import annotations

import torch
from torch import Tensor


class ScoreHistogram:
    """Streaming histogram of the scores in [0, 1] that each predicted class gets.

    Counts are integers: the order of the images and the number of ranks change nothing.

    Args:
        num_classes: C.
        num_bins: Resolution on [0, 1]; scores above the lower edge of the last bin count as equal.
    """

    def __init__(self, *, num_classes: int, num_bins: int = 1000) -> None:
        self.counts = torch.zeros(num_classes, num_bins, dtype=torch.int64)

    def add(self, predicted: Tensor, scores: Tensor) -> None:
        """Count pixels.

        Args:
            predicted: Class of each pixel in [0, C), any shape.
            scores: Same shape, in [0, 1].
        """
        num_bins = self.counts.shape[1]
        bins = (scores * num_bins).long().clamp_(max=num_bins - 1)
        index = (predicted * num_bins + bins).flatten()
        flat = torch.bincount(index, minlength=self.counts.numel())
        self.counts += flat.view_as(self.counts).cpu()

    def totals(self) -> Tensor:
        """Pixels counted per predicted class, shape (C,), int64."""
        return self.counts.sum(dim=1)

    def thresholds(self, portion: float) -> Tensor:
        """Score above which the top share of each class's predicted pixels lies.

        Args:
            portion: Share of pixels to keep per predicted class, in (0, 1].

        Returns:
            Shape (C,), float32, edges of bins in [0, 1): at least the share is kept, and at most one bin more. A class
            that was never predicted gets 1, so nothing is labeled with it by mistake.
        """
        num_bins = self.counts.shape[1]
        totals = self.totals()
        # Pixels at or above the lower edge of each bin.
        at_least = self.counts.flip(1).cumsum(1).flip(1)
        wanted = torch.ceil(portion * totals.double())[:, None]
        # The highest bin edge that still keeps the wanted share.
        edges = (at_least >= wanted).sum(dim=1) - 1
        thresholds = (edges.double() / num_bins).float()
        return torch.where(totals > 0, thresholds, torch.ones(()))
