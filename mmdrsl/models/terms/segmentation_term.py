"""Cross entropy (or whatever loss the segmentor's heads carry) on labels and on pseudo labels."""

from __future__ import annotations

from typing import Any

from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..feature_maps import auxiliary_heads
from ..label_maps import stack_confidences
from .adaptation_term import AdaptationStep, AdaptationTerm, DomainBatch
from .outputs import full_size_logits


@MODELS.register_module()
class SegmentationTerm(AdaptationTerm):
    """Segmentation loss on one domain: on the target this is self-training with pseudo labels.

    Args:
        domain: ``source`` or ``target``.
        weight: Factor of all its losses, >= 0.
        loss: Config of a loss for the decode head's logits, or a list of them (such as cross entropy and reverse cross
            entropy). None takes the losses that the segmentor's own heads carry, auxiliary heads included. Class
            weights belong to the source: class-balanced pseudo labels are balanced already, and weighting them again
            multiplies the errors of rare classes.
        confidence: Weight every pixel by the confidence of its pseudo label, which `LoadPseudoLabelConfidence` and
            `PackTargetInputs` bring into the batch; needs a `loss`.
        head: Train this classifier of ``model.heads`` instead of the segmentor's own heads; without a `loss`, by the
            losses that it carries.

    Raises:
        ValueError: Unknown domain, or `confidence` without a loss.
    """

    def __init__(
        self,
        *,
        domain: str,
        weight: float = 1.0,
        loss: dict | list[dict] | None = None,
        confidence: bool = False,
        head: str | None = None,
    ) -> None:
        super().__init__()
        if domain not in ("source", "target"):
            raise ValueError(f"domain must be 'source' or 'target', found {domain!r}.")
        self.domain = domain
        self.weight = weight
        if confidence and loss is None:
            raise ValueError("confidence=True needs a loss that takes weights per pixel; set loss.")
        losses = [loss] if isinstance(loss, dict) else loss or []
        self.losses = nn.ModuleList(MODELS.build(each) for each in losses)
        self.confidence = confidence
        self.head = head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Named losses and diagnostics; empty where the batch lacks the domain."""
        batch = step.domains.get(self.domain)
        if batch is None:
            return {}
        segmentor: Any = step.segmentor
        if len(self.losses):
            labels = batch.labels
            logits = full_size_logits(step, self.domain, self.head)
            weight = stack_confidences(batch.samples, labels.shape) if self.confidence else None
            values: dict[str, Tensor] = {}
            for loss in self.losses:
                value = loss(
                    logits, labels, weight=weight, ignore_index=segmentor.decode_head.ignore_index
                )
                name = str(loss.loss_name)
                values[name] = values.get(name, 0) + value * self.weight
            return values
        if self.head is not None:
            logits = step.head_output(self.head, self.domain)
            values = dict(step.head(self.head).loss_by_feat(logits, batch.samples))
        else:
            values = self._own_losses(step, batch)
        return {
            name: value * self.weight if "loss" in name else value for name, value in values.items()
        }

    def _own_losses(self, step: AdaptationStep, batch: DomainBatch) -> dict[str, Tensor]:
        """What the segmentor's own heads make of a batch."""
        segmentor: Any = step.segmentor
        values = dict(segmentor.decode_head.loss_by_feat(batch.logits, batch.samples))
        for index, head in enumerate(auxiliary_heads(segmentor)):
            logits = step.auxiliary_output(index, self.domain)
            losses = head.loss_by_feat(logits, batch.samples)
            values.update(add_prefix(losses, f"aux_{index}"))
        return values
