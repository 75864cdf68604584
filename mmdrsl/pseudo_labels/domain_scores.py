"""Scores of a model on images without labels, so that nobody needs target labels to choose one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_entropy(probabilities: Tensor) -> float:
    """Mean normalized entropy of one image; low means certain.

    Args:
        probabilities: Shape (C, h, w).

    Returns:
        A value in [0, 1].
    """
    entropy = -torch.xlogy(probabilities, probabilities).sum(dim=0)
    return float((entropy / math.log(len(probabilities))).clamp(0, 1).mean())


def soft_neighborhood_density(
    probabilities: Tensor, *, num_pixels: int = 128, temperature: float = 0.05
) -> float:
    """Density of the neighborhoods of predictions (Saito et al. 2021, equations 1-3); high means well clustered.

    Every pixel's similarities to all others, sharpened and normalized to a distribution, have an entropy that is large
    where the pixel has many near neighbors. The pixels are an even grid over the image; the original draws them at
    random.

    Args:
        probabilities: Shape (C, h, w).
        num_pixels: Pixels taken, at most.
        temperature: Temperature of the distribution over the neighbors, > 0.

    Returns:
        Mean entropy in nats, in [0, log(pixels - 1)]; 0 for fewer than two pixels.
    """
    flat = probabilities.flatten(1)
    count = min(num_pixels, flat.shape[1])
    if count < 2:
        return 0.0
    index = torch.linspace(0, flat.shape[1] - 1, count, device=flat.device).long()
    vectors = F.normalize(flat[:, index].t().float(), dim=1)
    similarities = vectors @ vectors.t() / temperature
    own = torch.eye(count, dtype=torch.bool, device=flat.device)
    log_density = similarities.masked_fill(own, -torch.inf).log_softmax(dim=1)
    # The own entry is exp(-inf) = 0 and counts nothing.
    terms = torch.where(own, torch.zeros(()), log_density.exp() * log_density)
    return float(-terms.sum(dim=1).mean())
