"""Stochastic mode alignment between the domains of a batch."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from .adaptation_term import AdaptationStep, AdaptationTerm, ramp
from .mode_inputs import mode_inputs


@MODELS.register_module()
class ModeAlignmentTerm(AdaptationTerm):
    """Applies `StochasticModeAlignmentLoss` to source and target embeddings, ramped up after the warm-up.

    Args:
        loss: Config of the loss.
        weight: Factor after the ramp, >= 0.
        ramp_iterations: Length of the linear ramp in steps, counted from the first adaptation step.
        weighted: Weigh each pseudo label by the map that `LoadPseudoLabelConfidence` loads.
        min_label_purity: Share of a feature cell that one label must cover, in (0.5, 1]; None takes the label at the
            cell's centre.
        use_memory: Let remembered source pixels stand in for modes that the batch's source images hardly show. Needs
            ``memory_size`` of the head and a `ModeMemoryHook`.
        head: Name of the `MMDLHead` in the adaptor.
    """

    def __init__(
        self,
        *,
        loss: dict | None = None,
        weight: float = 0.05,
        ramp_iterations: int = 1000,
        weighted: bool = False,
        min_label_purity: float | None = None,
        use_memory: bool = False,
        head: str = "mmdl",
    ) -> None:
        super().__init__()
        self.loss = MODELS.build(loss or dict(type="StochasticModeAlignmentLoss"))
        self.weight = weight
        self.ramp_iterations = ramp_iterations
        self.weighted = weighted
        self.min_label_purity = min_label_purity
        self.use_memory = use_memory
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The alignment loss; empty where the batch lacks one of the domains.

        Raises:
            ValueError: `use_memory` is set, and the head has no memory or no hook keeps it.
        """
        if not {"source", "target"} <= step.domains.keys():
            return {}
        source, target = (
            mode_inputs(
                step,
                self.head,
                domain,
                min_label_purity=self.min_label_purity,
                weighted=self.weighted,
            )
            for domain in ("source", "target")
        )
        head = step.head(self.head)
        memory = head.remembered() if self.use_memory else None
        if self.use_memory and not head.memory_followed:
            raise ValueError(
                f"ModeAlignmentTerm uses the memory of model.heads.{self.head}, which nobody fills: add "
                f"custom_hooks=[dict(type='ModeMemoryHook', head={self.head!r})], or set use_memory=False."
            )
        weight = self.weight * ramp(step.progress.adaptation_iteration, self.ramp_iterations)
        loss = self.loss(
            source.embeddings,
            source.labels,
            target.embeddings,
            target.labels,
            head.modes(),
            head.bandwidth,
            target_weights=target.weights,
            source_memory=memory,
        )
        return {"loss_alignment": weight * loss}
