"""Mode learning: the mode metric loss on the embeddings of one or both domains."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from .adaptation_term import AdaptationStep, AdaptationTerm
from .mode_inputs import mode_inputs


@MODELS.register_module()
class ModeMetricTerm(AdaptationTerm):
    """Applies `ModeMetricLoss` to the head's embeddings, on source labels and on target pseudo labels.

    Args:
        loss: Config of the loss.
        weight: Factor, >= 0.
        domains: Domains to learn from.
        weighted: Weigh each pseudo label by the map that `LoadPseudoLabelConfidence` loads.
        min_label_purity: Share of a feature cell that one label must cover, in (0.5, 1]; None takes the label at the
            cell's centre.
        head: Name of the `MMDLHead` in the adaptor.

    Raises:
        ValueError: `domains` names something other than ``source`` and ``target``.
    """

    def __init__(
        self,
        *,
        loss: dict | None = None,
        weight: float = 0.1,
        domains: Sequence[str] = ("source", "target"),
        weighted: bool = False,
        min_label_purity: float | None = None,
        head: str = "mmdl",
    ) -> None:
        super().__init__()
        if not domains or set(domains) - {"source", "target"}:
            raise ValueError(f"domains must be of 'source' and 'target', found {list(domains)}.")
        self.loss = MODELS.build(loss or dict(type="ModeMetricLoss"))
        self.weight = weight
        self.domain_names = tuple(domains)
        self.weighted = weighted
        self.min_label_purity = min_label_purity
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """One loss per domain that is both chosen and in the batch."""
        values = {}
        for domain in self.domain_names:
            if domain not in step.domains:
                continue
            head = step.head(self.head)
            inputs = mode_inputs(
                step,
                self.head,
                domain,
                min_label_purity=self.min_label_purity,
                weighted=self.weighted,
            )
            values[f"loss_{domain}"] = self.weight * self.loss(
                inputs.embeddings, inputs.labels, head.modes(), head.bandwidth, inputs.weights
            )
        return values
