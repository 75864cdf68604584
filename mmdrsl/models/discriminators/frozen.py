"""The judgment of a network that must not learn from it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call


def score_frozen(discriminator: nn.Module, maps: Tensor) -> Tensor:
    """Scores through which gradients reach the map and not the discriminator.

    The adversarial loss of a segmentor and the loss of its discriminator can then be added up and go through one
    backward pass of one step: the first reaches the segmentor's parameters only, the second, on detached maps, the
    discriminator's only. That equals the two backward passes of the released codes, which also take both gradients
    before either optimizer steps.

    Args:
        discriminator: The discriminator; nothing of it is changed.
        maps: What it judges, shape (B, C, H, W).

    Returns:
        Its output, connected to `maps` alone.
    """
    weights = {name: value.detach() for name, value in discriminator.named_parameters()}
    return functional_call(discriminator, weights, (maps,))
