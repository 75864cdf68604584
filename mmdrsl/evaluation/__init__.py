"""Metrics."""

from .class_iou_metric import ClassIoUMetric
from .confusion import SubsetScores, confusion_matrix, subset_scores

__all__ = ["ClassIoUMetric", "SubsetScores", "confusion_matrix", "subset_scores"]
