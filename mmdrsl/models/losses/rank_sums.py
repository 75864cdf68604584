"""Sums over the ranks of a distributed run, for losses whose denominators belong to the global batch."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def sum_over_ranks(local: Tensor) -> Tensor:
    """Add a tensor up over all ranks; every rank must call it, in the same order.

    The value is the global sum on each rank. The gradient is the local one times the number of ranks: after
    DistributedDataParallel has averaged the gradients of all ranks, what remains is the gradient of the global sum. No
    communication happens in the backward pass.

    Args:
        local: This rank's summand, any shape, floating point, on the same device type on every rank.

    Returns:
        The sum, same shape; `local` itself where there is one rank.
    """
    world_size = get_world_size()
    if world_size == 1:
        return local
    total = local.detach().clone()
    all_reduce(total)
    return total + world_size * (local - local.detach())


def mean_over_ranks(total: Tensor, divisor: Tensor) -> Tensor:
    """Divide a rank's sum by the mean of all ranks' divisors; every rank must call it, in the same order.

    With gradients averaged over the ranks this is the gradient of one process with the joint batch, however unevenly
    labels are spread.

    Args:
        total: The sum of this rank.
        divisor: Its divisor, >= 0.

    Returns:
        A scalar; a connected zero where the divisor is 0.
    """
    divisor = divisor.detach().clone()
    all_reduce(divisor, op="mean")
    return total / torch.where(divisor > 0, divisor, torch.ones_like(divisor))
