"""Stochastic mode alignment between the domains of a batch."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..label_maps import resize_labels
from .adaptation_term import AdaptationStep, AdaptationTerm, ramp


@MODELS.register_module()
class ModeAlignmentTerm(AdaptationTerm):
    """Applies `StochasticModeAlignmentLoss` to source and target embeddings, ramped up after the warm-up.

    Args:
        loss: Config of the loss.
        weight: Factor after the ramp, >= 0.
        ramp_iterations: Length of the linear ramp in steps, counted from the first adaptation step.
        head: Name of the `MMDLHead` in the adaptor.
    """

    def __init__(
        self,
        *,
        loss: dict | None = None,
        weight: float = 0.05,
        ramp_iterations: int = 1000,
        head: str = "mmdl",
    ) -> None:
        super().__init__()
        self.loss = MODELS.build(loss or dict(type="StochasticModeAlignmentLoss"))
        self.weight = weight
        self.ramp_iterations = ramp_iterations
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The alignment loss; empty where the batch lacks one of the domains."""
        if not {"source", "target"} <= step.domains.keys():
            return {}
        embeddings = {name: step.head_output(self.head, name) for name in ("source", "target")}
        labels = {
            name: resize_labels(step.domains[name].labels, embeddings[name].shape[2:])
            for name in embeddings
        }
        head = step.head(self.head)
        weight = self.weight * ramp(step.progress.adaptation_iteration, self.ramp_iterations)
        loss = self.loss(
            embeddings["source"],
            labels["source"],
            embeddings["target"],
            labels["target"],
            head.modes(),
            head.bandwidth,
        )
        return {"loss_alignment": weight * loss}
