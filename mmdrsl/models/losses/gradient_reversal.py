"""Gradient reversal (Ganin and Lempitsky 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _ReversedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradient, None


def reverse_gradient(values: Tensor, factor: float) -> Tensor:
    """Identity whose gradient is multiplied by ``-factor``.

    Args:
        values: Any shape.
        factor: >= 0; 0 lets no gradient through.

    Returns:
        The values.
    """
    return _ReversedGradient.apply(values, factor)
