"""Scores that choose between models without labels (validators; Musgrave et al. 2022 compare many). Pure functions.

Every score is the higher the better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

SCORES = {
    "entropy": "negative mean entropy of the pixels: certain predictions",
    "information": "entropy of the mean prediction minus mean entropy: certain, and all classes in use",
    "density": "soft neighborhood density: pixels in clusters",
    "masked": "share of pixels that keep their class when blocks of the image are hidden",
    "mirrored": "share of pixels that keep their class in the mirror image",
    "teacher": "share of pixels to which student and teacher give the same class",
}
"""Names of the scores, and what they measure."""


def information(mean: Tensor, mean_entropy: float) -> float:
    """Mutual information of pixel and class (Shi and Sha 2012, "information maximization").

    Args:
        mean: Mean class probabilities of all pixels, shape (C,).
        mean_entropy: Mean normalized entropy of the pixels, in [0, 1].

    Returns:
        Normalized, in [0, 1]: 0 where all pixels have the same prediction.
    """
    entropy = float(-torch.xlogy(mean, mean).sum()) / math.log(len(mean))
    return max(0.0, entropy - mean_entropy)


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of pixels with the same most probable class.

    Args:
        first: Scores or probabilities, shape (C, H, W).
        second: The same of another prediction.

    Returns:
        A value in [0, 1].
    """
    return float((first.argmax(dim=0) == second.argmax(dim=0)).float().mean())


def mean_ranks(scores: Sequence[Mapping[str, float]]) -> list[float]:
    """Mean rank of each model over the scores; 1 is best (this project's own).

    Args:
        scores: Scores of each model; those that not all models have are left out.

    Returns:
        One number per model.

    Raises:
        ValueError: The models have no score in common.
    """
    # Imported where it is used: it takes a tenth of the time that the library takes.
    from scipy.stats import rankdata

    common = set.intersection(*(set(row) for row in scores))
    if not common:
        raise ValueError(f"no score is known of all {len(scores)} models.")
    ranks = [rankdata([-row[name] for row in scores]) for name in sorted(common)]
    return np.mean(ranks, axis=0).tolist()
