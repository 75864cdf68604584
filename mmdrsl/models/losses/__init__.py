"""Losses: `functional` holds all mathematics, each other module one thin registered loss."""

from .mode_alignment_loss import StochasticModeAlignmentLoss
from .mode_metric_loss import ModeMetricLoss

__all__ = ["ModeMetricLoss", "StochasticModeAlignmentLoss"]
