"""What a domain discriminator is asked for, as pure functions; a large score means the source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Score above which a place counts as judged to be of the source.
DECISION = {"cross_entropy": 0.0, "least_squares": 0.5}


def domain_loss(scores: Tensor, *, of_source: bool, kind: str = "cross_entropy") -> Tensor:
    """Mean distance of scores from those of a domain.

    ``cross_entropy`` (the original GAN): ``-log sigmoid(s)`` for the source, ``-log (1 - sigmoid(s))`` for the target.
    ``least_squares`` (LSGAN, Mao et al. 2017): ``(s - 1)^2`` and ``s^2``. A discriminator lowers it with each domain's
    own name, a segmentor that is to fool it with the source's name on target images.

    Args:
        scores: Output of the discriminator, any shape.
        of_source: Whether the wanted answer is the source.
        kind: ``cross_entropy`` or ``least_squares``.

    Returns:
        A scalar.

    Raises:
        ValueError: Unknown kind.
    """
    if kind not in DECISION:
        raise ValueError(f"kind must be one of {sorted(DECISION)}, found {kind!r}.")
    scores = scores.float()
    wanted = torch.full_like(scores, float(of_source))
    if kind == "cross_entropy":
        return F.binary_cross_entropy_with_logits(scores, wanted)
    return F.mse_loss(scores, wanted)


def domain_accuracy(source_scores: Tensor, target_scores: Tensor, kind: str) -> Tensor:
    """Share of places judged rightly, both domains counting the same; 0.5 is guessing.

    Args:
        source_scores: Scores of source images, any shape.
        target_scores: Scores of target images, any shape.
        kind: As for `domain_loss`.

    Returns:
        A scalar in [0, 1], without a graph.
    """
    limit = DECISION[kind]
    source = (source_scores.detach() > limit).float().mean()
    return (source + (target_scores.detach() <= limit).float().mean()) / 2
