"""Confusion matrices, and the figures that a subset of their classes gives: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmdrsl.datasets.label_spaces import IGNORE_INDEX


@dataclass(frozen=True)
class SubsetScores:
    """What a confusion matrix says about some of its classes; shares in [0, 1].

    Attributes:
        iou: Intersection over union per class of the subset, NaN where the class occurs neither in the ground truth
            counted nor in the predictions on it.
        accuracy: Share of a class's ground truth that is predicted as it, NaN where it has none.
        pixel_accuracy: Share of the subset's ground truth that is predicted correctly, NaN where there is none.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    pixel_accuracy: float


def confusion_matrix(
    labels: torch.Tensor, predictions: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """Count how often each class is predicted as each class.

    Args:
        labels: Train ids in [0, C), any shape; pixels of `IGNORE_INDEX` are left out.
        predictions: Class ids in [0, C) wherever the label is not ignored, the same shape and device.
        num_classes: C.

    Returns:
        Counts, shape (C, C), int64, on the CPU: row the ground truth, column the prediction.

    Raises:
        ValueError: The shapes differ, or an id is outside its range.
    """
    if labels.shape != predictions.shape:
        raise ValueError(
            f"the label has shape {tuple(labels.shape)}, the prediction {tuple(predictions.shape)}: evaluation is at "
            "the size of the label, so predictions must be resized to it"
        )
    counted = labels != IGNORE_INDEX
    # Labels are 8-bit, too narrow for the product below.
    labels, predictions = labels[counted].long(), predictions[counted].long()
    for name, ids in (("label", labels), ("prediction", predictions)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            wrong = ids[(ids < 0) | (ids >= num_classes)].unique().tolist()
            raise ValueError(
                f"the {name} holds ids {wrong[:5]}, expected 0..{num_classes - 1}: dataset and model must have the "
                "same classes"
            )
    counts = torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).cpu()


def subset_scores(
    matrix: np.ndarray, subset: Sequence[int], *, excluded_as_false_positives: bool = False
) -> SubsetScores:
    """Score some classes of a confusion matrix.

    A pixel of the subset that is predicted as a class outside it is a miss. A pixel whose ground truth is outside the
    subset is left out, as if ignored, unless it is to count as a false positive of the class predicted on it.

    Args:
        matrix: Counts, shape (C, C): row the ground truth, column the prediction.
        subset: Rows and columns of the S classes wanted.
        excluded_as_false_positives: Whether ground truth outside the subset counts against the IoU. Accuracies are
            shares of the subset's own ground truth either way.

    Returns:
        The scores; arrays of shape (S,).
    """
    rows = matrix[list(subset)]
    correct = rows[np.arange(len(rows)), list(subset)].astype(np.float64)
    labeled = rows.sum(1)
    predicted = (matrix if excluded_as_false_positives else rows).sum(0)[list(subset)]
    return SubsetScores(
        iou=_share(correct, labeled + predicted - correct),
        accuracy=_share(correct, labeled),
        pixel_accuracy=float(_share(correct.sum(), labeled.sum())),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN where the whole is zero."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
