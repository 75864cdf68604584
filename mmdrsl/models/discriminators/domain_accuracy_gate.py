"""Whether a discriminator has been right often enough for a segmentor to learn from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DomainAccuracyGate(nn.Module):
    """Rolling mean of a discriminator's accuracy, and a threshold on it (Hoffman et al. 2018, released code).

    A discriminator that tells the domains apart no better than chance has no direction to show. `DomainAccuracyHook`
    calls `update` between steps; nothing inside a step does. The values are buffers, so that checkpoints hold them, and
    the hook writes the mean over all ranks, so that every rank decides alike.

    Args:
        threshold: The gate is open while the rolling accuracy is above it, in [0, 1); CyCADA uses 0.6.
        window: Steps that the mean covers, >= 1; before that many, it covers those seen.

    Raises:
        ValueError: An argument is outside its range.
    """

    accuracies: Tensor
    count: Tensor

    def __init__(self, *, threshold: float = 0.6, window: int = 100) -> None:
        super().__init__()
        if not 0 <= threshold < 1 or window < 1:
            raise ValueError(
                f"threshold must be in [0, 1) and window at least 1, found {threshold} and {window}."
            )
        self.threshold = threshold
        self.followed = False
        self.register_buffer("accuracies", torch.zeros(window))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, accuracy: float) -> None:
        """Let a step's accuracy take the place of the oldest one.

        Args:
            accuracy: In [0, 1].
        """
        self.accuracies[int(self.count) % len(self.accuracies)] = accuracy
        self.count += 1

    @property
    def accuracy(self) -> float:
        """The rolling mean; 0 before the first update."""
        seen = min(int(self.count), len(self.accuracies))
        return float(self.accuracies[:seen].mean()) if seen else 0.0

    @property
    def is_open(self) -> bool:
        """Whether the discriminator has been right often enough; False before the first update."""
        return self.accuracy > self.threshold
