"""One set of running statistics for all ranks."""

from __future__ import annotations

from mmengine.dist import broadcast
from torch import nn


def share_buffers(model: nn.Module) -> None:
    """Give every rank the buffers of the first one, whose checkpoints are kept.

    Gradients are averaged over the ranks, running statistics are not: each rank takes those of its own batches, as
    MMEngine's wrapper leaves them.

    Args:
        model: The model, the same on every rank; with one process nothing happens.
    """
    for buffer in model.buffers():
        broadcast(buffer)
