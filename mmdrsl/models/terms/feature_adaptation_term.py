"""Feature-level adaptation with a domain discriminator (CyCADA, Hoffman et al. 2018, eq. 5)."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..discriminators import DomainAccuracyGate, score_frozen
from ..losses.adversarial import domain_loss, right_share
from ..losses.gradient_reversal import reverse_gradient
from .adaptation_term import AdaptationStep, AdaptationTerm, DomainBatch, ramp

INPUTS = ("scores", "features")


@MODELS.register_module()
class FeatureAdaptationTerm(AdaptationTerm):
    """Trains a discriminator between the domains, and the segmentor to be taken for the source on target images.

    The discriminator learns on detached maps of both domains (``loss_discriminator``); while its gate is open, the
    segmentor learns through the frozen discriminator on the target's maps (``loss_adversarial``). Both are part of one
    objective, beside any other term, pseudo labels included. Unlike `AdversarialTerm`, which judges probabilities at
    full size, this one judges raw scores or features at their own size, and listens only to a discriminator that is
    right often enough. The released code also pauses the source's cross entropy while the gate is closed, and skips
    batches whose source labels are all ignored; here that loss runs on, and is zero there. It steps with SGD of rate
    1e-5 and momentum 0.99 on one image; here optimizer and batch are the config's.

    Args:
        discriminator: Name of the discriminator in the adaptor.
        inputs: ``scores``, the class scores before the softmax, as CyCADA, or ``features``.
        feature_index: Which of the segmentor's feature maps ``features`` takes.
        weight: Factor of the adversarial loss, >= 0; CyCADA uses 0.1.
        discriminator_weight: Factor of the discriminator's loss, > 0.
        reversal: Gradient reversal instead: one loss on both domains (``loss_domain``), whose gradient reaches the
            segmentor negated, ``weight`` times as strong.
        gate: Arguments of `DomainAccuracyGate`; needs a `DomainAccuracyHook`. None is always open.
        ramp_iterations: Length of the linear ramp of `weight` in steps, counted from the first adaptation step.

    Raises:
        ValueError: `inputs` is unknown, or a number is outside its range.
    """

    def __init__(
        self,
        *,
        discriminator: str = "scores",
        inputs: str = "scores",
        feature_index: int = -1,
        weight: float = 0.1,
        discriminator_weight: float = 1.0,
        reversal: bool = False,
        gate: dict | None = None,
        ramp_iterations: int = 0,
    ) -> None:
        super().__init__()
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {list(INPUTS)}, found {inputs!r}.")
        if weight < 0 or discriminator_weight <= 0 or ramp_iterations < 0:
            raise ValueError(
                "weight and ramp_iterations must not be negative and discriminator_weight must be above 0, found "
                f"{weight}, {ramp_iterations} and {discriminator_weight}."
            )
        self.discriminator = discriminator
        self.inputs = inputs
        self.feature_index = feature_index
        self.weight = weight
        self.discriminator_weight = discriminator_weight
        self.reversal = reversal
        self.gate = None if gate is None else DomainAccuracyGate(**gate)
        self.ramp_iterations = ramp_iterations

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Losses, the accuracy on this batch and whether the gate is open; empty where the batch lacks a domain.

        Raises:
            ValueError: No hook keeps the gate, or there is no such discriminator.
        """
        if not {"source", "target"} <= step.domains.keys():
            return {}
        if self.gate is not None and not self.gate.followed:
            raise ValueError(
                "FeatureAdaptationTerm has a gate that nobody updates, it would never open: add "
                "custom_hooks=[dict(type='DomainAccuracyHook')], or set gate=None."
            )
        discriminator = step.discriminator(self.discriminator)
        source, target = (self._maps(step.domains[name]) for name in ("source", "target"))
        is_open = self.gate is None or self.gate.is_open
        weight = self.weight * ramp(step.progress.adaptation_iteration, self.ramp_iterations)
        weight = weight if is_open else 0.0
        values: dict[str, Tensor] = {}
        if self.reversal:
            factor = weight / self.discriminator_weight
            scores = [discriminator(reverse_gradient(maps, factor)) for maps in (source, target)]
            name = "loss_domain"
        else:
            # Without a weight there is nothing to learn, but the graph stays whole.
            values["loss_adversarial"] = (
                weight * domain_loss(score_frozen(discriminator, target), of_source=True)
                if weight > 0
                else target.flatten()[:0].sum()
            )
            scores = [discriminator(maps.detach()) for maps in (source, target)]
            name = "loss_discriminator"
        # Half of the sum: each domain counts as much as the other, whatever the mixture.
        values[name] = (
            self.discriminator_weight
            * (domain_loss(scores[0], of_source=True) + domain_loss(scores[1], of_source=False))
            / 2
        )
        values["discriminator_accuracy"] = right_share(scores[0], scores[1], "cross_entropy")
        values["gate_open"] = target.new_tensor(float(is_open))
        return values

    def _maps(self, batch: DomainBatch) -> Tensor:
        return batch.logits if self.inputs == "scores" else batch.features[self.feature_index]
