"""CyCADA's feature level: a discriminator between the domains that a segmentor hears only while it is right.

Paper: Hoffman et al., "CyCADA: Cycle-Consistent Adversarial Domain Adaptation" (ICML 2018), equation 5. Defaults:
factor 0.1, gate above an accuracy of 0.6 over 100 steps (released code). The released code also pauses the source's
cross entropy while the gate is closed, and skips batches whose source labels are all ignored; here that loss runs on,
and is zero there. It steps with SGD of rate 1e-5 and momentum 0.99 on one image; here optimizer and batch are the
config's. The pixel level is `mmdrsl.translation`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.discriminators import score_frozen
from mmdrsl.models.losses.adversarial import domain_accuracy, domain_loss


class DomainAccuracyGate(nn.Module):
    """Rolling mean of a discriminator's accuracy, and a threshold on it (released code).

    A discriminator that tells the domains apart no better than chance has no direction to show. The values are buffers,
    so that checkpoints hold them.

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


@MODELS.register_module()
class FeatureAdaptationTerm(AdaptationTerm):
    """Trains a discriminator between the domains, and the segmentor to be taken for the source on target images.

    The discriminator learns on detached class scores of both domains (``loss_discriminator``); while its gate is open,
    the segmentor learns through the frozen discriminator on the target's scores (``loss_adversarial``). Unlike
    `AdversarialTerm`, which judges probabilities at full size, this one judges raw scores at their own size, and
    listens only to a discriminator that is right often enough.

    Args:
        discriminator: Name of the discriminator in ``model.discriminators``.
        weight: Factor of the adversarial loss, >= 0; CyCADA uses 0.1.
        gate: Arguments of `DomainAccuracyGate`; None is always open.

    Raises:
        ValueError: `weight` is negative.
    """

    def __init__(
        self, *, discriminator: str = "scores", weight: float = 0.1, gate: dict | None = None
    ) -> None:
        super().__init__(domains=("source", "target"), weight=weight)
        self.discriminator = discriminator
        self.gate = None if gate is None else DomainAccuracyGate(**gate)

    @property
    def changes_after_step(self) -> bool:
        """Whether there is a gate to keep."""
        return self.gate is not None

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Losses, the accuracy on this batch and whether the gate is open."""
        discriminator = step.discriminator(self.discriminator)
        source, target = (step.domains[name].logits for name in ("source", "target"))
        is_open = self.gate is None or self.gate.is_open
        weight = self.weight if is_open else 0.0
        scores = [discriminator(maps.detach()) for maps in (source, target)]
        return {
            # Without a weight there is nothing to learn, but the graph stays whole.
            "loss_adversarial": (
                weight * domain_loss(score_frozen(discriminator, target), of_source=True)
                if weight > 0
                else target.flatten()[:0].sum()
            ),
            # Half of the sum: each domain counts as much as the other, whatever the mixture.
            "loss_discriminator": (
                domain_loss(scores[0], of_source=True) + domain_loss(scores[1], of_source=False)
            )
            / 2,
            "domain_accuracy": domain_accuracy(scores[0], scores[1], "cross_entropy"),
            "gate_open": target.new_tensor(float(is_open)),
        }

    def after_step(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Update the gate with the accuracy of the step, averaged over all ranks."""
        if self.gate is None or "domain_accuracy" not in values:
            return {}
        accuracy = torch.as_tensor(values["domain_accuracy"], dtype=torch.float32).detach().clone()
        all_reduce(accuracy, op="mean")
        self.gate.update(float(accuracy))
        return {"rolling_accuracy": self.gate.accuracy}
