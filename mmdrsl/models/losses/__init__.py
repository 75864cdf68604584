"""Losses that several methods use: pure functions, and the registered cross entropy."""

from .segmentation_losses import WeightedCrossEntropyLoss

__all__ = ["WeightedCrossEntropyLoss"]
