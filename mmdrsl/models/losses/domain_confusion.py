"""The mathematics of telling domains apart, as pure functions; scores are logits, above 0 where they say source."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def domain_cross_entropy(scores: Tensor, *, is_source: bool) -> Tensor:
    """Binary cross entropy of a discriminator's scores with one domain.

    Args:
        scores: Logits of any shape, at least one.
        is_source: Whether they are to say source.

    Returns:
        Mean over all scores, a scalar >= 0.
    """
    wanted = torch.full_like(scores, float(is_source))
    return F.binary_cross_entropy_with_logits(scores, wanted)


def domain_accuracy(source_scores: Tensor, target_scores: Tensor) -> Tensor:
    """Share of places whose domain is told rightly, each domain counting half.

    Args:
        source_scores: Logits on the source, any shape.
        target_scores: Logits on the target, any shape.

    Returns:
        A scalar in [0, 1] without gradient; 0.5 is chance.
    """
    right = (source_scores > 0).float().mean() + (target_scores <= 0).float().mean()
    return right.detach() / 2


class _ReversedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.factor * gradient, None


def reverse_gradient(values: Tensor, factor: float) -> Tensor:
    """Identity whose gradient is multiplied by ``-factor`` (Ganin and Lempitsky 2015, gradient reversal layer).

    Args:
        values: Any shape.
        factor: >= 0; 0 lets no gradient through.

    Returns:
        The values.
    """
    return _ReversedGradient.apply(values, factor)
