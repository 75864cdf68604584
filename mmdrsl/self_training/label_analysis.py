"""How good pseudo labels are, where somebody does have the labels: analysis only, never part of training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .label_policy import IGNORE_INDEX


def label_quality(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: list[str]
) -> dict[str, dict[str, float | None]]:
    """Precision and coverage of pseudo labels per class.

    Args:
        pairs: Pseudo labels and labels of one image each, shape (H, W), train ids; 255 is none in both.
        classes: Class names.

    Returns:
        ``precision``: share of the pixels labelled with a class that belong to it; ``coverage``: share of the class's
        own pixels that got any label. None where there are no such pixels. Each has an entry ``all`` too.
    """
    number = len(classes)
    # Rows: truth. Columns: pseudo label, the last for none.
    confusion = np.zeros((number, number + 1), dtype=np.int64)
    for labels, truth in pairs:
        known = truth != IGNORE_INDEX
        given = np.where(labels == IGNORE_INDEX, number, labels)[known]
        # In eight bits the product would wrap round.
        rows = truth[known].astype(np.int64) * (number + 1)
        flat = np.bincount(rows + given, minlength=confusion.size)
        confusion += flat.reshape(confusion.shape)
    correct, labelled = np.diag(confusion), confusion[:, :number]

    def shares(counts: np.ndarray, totals: np.ndarray) -> dict[str, float | None]:
        entries = zip(
            [*classes, "all"], [*counts, counts.sum()], [*totals, totals.sum()], strict=True
        )
        return {name: float(part / whole) if whole else None for name, part, whole in entries}

    return {
        "precision": shares(correct, labelled.sum(axis=0)),
        "coverage": shares(labelled.sum(axis=1), confusion.sum(axis=1)),
    }
