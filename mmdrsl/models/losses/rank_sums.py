"""Sums over the ranks of a distributed run, for losses whose denominators belong to the global batch."""

from __future__ import annotations

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
