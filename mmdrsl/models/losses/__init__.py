"""Losses: `functional` holds all mathematics, each other module one thin registered loss."""

from .mode_alignment_loss import StochasticModeAlignmentLoss
from .mode_metric_loss import ModeMetricLoss
from .segmentation_losses import ReverseCrossEntropyLoss, WeightedCrossEntropyLoss

__all__ = [
    "ModeMetricLoss",
    "ReverseCrossEntropyLoss",
    "StochasticModeAlignmentLoss",
    "WeightedCrossEntropyLoss",
]
