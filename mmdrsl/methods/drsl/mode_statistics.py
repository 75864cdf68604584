"""Figures that tell whether modes are used, tight and shared by the domains; pure functions.

Shapes: N pixels, C classes, K modes per class, D embedding dimensions, G = C * K groups; a pixel's group is
``class * K + mode``. All of this is this project's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def usage_entropy(responsibilities: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Entropy of each class's mean mode usage, relative to even usage.

    Args:
        responsibilities: Shape (N, K), K >= 2, rows sum to 1.
        labels: Shape (N,), in [0, C).
        num_classes: C.

    Returns:
        Shape (C,), in [0, 1]: 0 for one mode only, 1 for all alike; NaN for classes without pixels.
    """
    num_modes = responsibilities.shape[1]
    counts = torch.bincount(labels, minlength=num_classes)
    sums = responsibilities.new_zeros(num_classes, num_modes).index_add(0, labels, responsibilities)
    usage = sums / counts[:, None]
    return -torch.xlogy(usage, usage).sum(dim=1) / math.log(num_modes)


def group_centroids(embeddings: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Mean embedding of each group.

    Args:
        embeddings: Shape (N, D).
        groups: Shape (N,), in [0, G).
        num_groups: G.

    Returns:
        Shape (G, D); NaN for groups without pixels.
    """
    sums = embeddings.new_zeros(num_groups, embeddings.shape[1]).index_add(0, groups, embeddings)
    return sums / torch.bincount(groups, minlength=num_groups)[:, None]


def within_variance(embeddings: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Mean squared distance of a group's pixels to their centroid.

    Args:
        embeddings: Shape (N, D).
        groups: Shape (N,), in [0, G).
        num_groups: G.

    Returns:
        Shape (G,), >= 0; NaN for groups without pixels.
    """
    gaps = embeddings - group_centroids(embeddings, groups, num_groups)[groups]
    sums = embeddings.new_zeros(num_groups).index_add(0, groups, gaps.square().sum(dim=1))
    return sums / torch.bincount(groups, minlength=num_groups)


def centroid_gaps(
    source: Tensor, source_groups: Tensor, target: Tensor, target_groups: Tensor, shape: tuple
) -> Tensor:
    """Squared distance between the domains' centroids of a mode, averaged over a class's shared modes.

    Args:
        source: Shape (N_s, D).
        source_groups: Shape (N_s,), in [0, C * K).
        target: Shape (N_t, D).
        target_groups: Shape (N_t,).
        shape: (C, K).

    Returns:
        Shape (C,), in [0, 4]; NaN for classes without a mode in both domains.
    """
    num_groups = shape[0] * shape[1]
    gap = group_centroids(source, source_groups, num_groups) - group_centroids(
        target, target_groups, num_groups
    )
    return gap.square().sum(dim=1).reshape(shape).nanmean(dim=1)


def kept_share(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Share of the pixels predicted as a class that carry a pseudo label, whichever it is.

    Args:
        labels: Pseudo labels, any shape; values outside [0, C) are ignored.
        predictions: Predicted classes in [0, C), same shape.
        num_classes: C.

    Returns:
        Shape (C,), in [0, 1]; NaN for classes that are not predicted.
    """
    kept = (labels >= 0) & (labels < num_classes)
    counts = torch.bincount(predictions[kept], minlength=num_classes)
    return counts / torch.bincount(predictions.flatten(), minlength=num_classes)
