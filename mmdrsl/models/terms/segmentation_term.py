"""Cross entropy (or whatever loss the segmentor's heads carry) on labels and on pseudo labels."""

from __future__ import annotations

from typing import Any

from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor

from .adaptation_term import AdaptationStep, AdaptationTerm


@MODELS.register_module()
class SegmentationTerm(AdaptationTerm):
    """Segmentation loss on one domain: on the target this is self-training with pseudo labels.

    Args:
        domain: ``source`` or ``target``.
        weight: Factor of all its losses, >= 0.
        loss: Config of an MMSegmentation loss for the decode head's logits. None takes the losses that the
            segmentor's own heads carry, auxiliary heads included. Class weights belong to the source: class-balanced
            pseudo labels are balanced already, and weighting them again multiplies the errors of rare classes.

    Raises:
        ValueError: Unknown domain.
    """

    def __init__(self, *, domain: str, weight: float = 1.0, loss: dict | None = None) -> None:
        super().__init__()
        if domain not in ("source", "target"):
            raise ValueError(f"domain must be 'source' or 'target', found {domain!r}.")
        self.domain = domain
        self.weight = weight
        self.loss = None if loss is None else MODELS.build(loss)

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Named losses and diagnostics; empty where the batch lacks the domain."""
        batch = step.domains.get(self.domain)
        if batch is None:
            return {}
        segmentor: Any = step.segmentor
        if self.loss is not None:
            labels = batch.labels
            logits = resize(
                batch.logits,
                size=labels.shape[1:],
                mode="bilinear",
                align_corners=segmentor.align_corners,
            )
            value = self.loss(logits, labels, ignore_index=segmentor.decode_head.ignore_index)
            return {self.loss.loss_name: value * self.weight}
        values = dict(segmentor.decode_head.loss_by_feat(batch.logits, batch.samples))
        if segmentor.with_auxiliary_head:
            auxiliary = segmentor.auxiliary_head
            heads = auxiliary if hasattr(auxiliary, "__iter__") else [auxiliary]
            for index, head in enumerate(heads):
                losses = head.loss(batch.features, batch.samples, segmentor.train_cfg)
                values.update(add_prefix(losses, f"aux_{index}"))
        return {
            name: value * self.weight if "loss" in name else value for name, value in values.items()
        }
