"""Supervision by labels and by pseudo labels: the source's cross entropy, and self-training.

Paper: Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training"
(ECCV 2018), equation 6: cross entropy on target pixels with pseudo labels, which `SelfTrainingHook` renews every round
and `ClassBalancedPolicy` selects. Defaults and what the released code does otherwise: docs/methods.md.
"""

from __future__ import annotations

from typing import Any

from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.detail_maps import losses_with_detail
from mmdrsl.models.feature_maps import auxiliary_heads, decode_heads


@MODELS.register_module()
class SegmentationTerm(AdaptationTerm):
    """Segmentation loss on one domain: on the target this is self-training with pseudo labels.

    Args:
        domain: ``source`` or ``target``.
        weight: Factor of all its losses, >= 0.
        loss: Config of a loss for the classifier's logits, or a list of them (such as cross entropy and reverse cross
            entropy). None takes the losses that the segmentor's own heads carry, auxiliary heads included. Class
            weights belong to the source: class-balanced pseudo labels are balanced already, and weighting them again
            multiplies the errors of rare classes.
        head: Train this classifier of ``model.heads`` instead of the segmentor's own heads; without a `loss`, by the
            losses that it carries.

    Raises:
        ValueError: Unknown domain.
    """

    def __init__(
        self,
        *,
        domain: str,
        weight: float = 1.0,
        loss: dict | list[dict] | None = None,
        head: str | None = None,
    ) -> None:
        super().__init__(domains=(domain,), weight=weight)
        self.domain = domain
        losses = [loss] if isinstance(loss, dict) else loss or []
        self.losses = nn.ModuleList(MODELS.build(each) for each in losses)
        self.head = head

    @property
    def trained_head(self) -> str | None:
        """The further classifier, where there is one."""
        return self.head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Named losses and diagnostics."""
        if len(self.losses):
            values = self._given_losses(step)
        elif self.head is not None:
            logits = step.head_output(self.head, self.domain)
            samples = step.domains[self.domain].samples
            values = dict(step.head(self.head).loss_by_feat(logits, samples))
        else:
            values = self._own_losses(step)
        return {
            name: value * self.weight if "loss" in name else value for name, value in values.items()
        }

    def _given_losses(self, step: AdaptationStep) -> dict[str, Tensor]:
        """What the losses of the config make of the classifier's logits."""
        logits = step.full_size_logits(self.domain, self.head)
        labels = step.domains[self.domain].labels
        ignored = step.ignore_index
        values: dict[str, Tensor] = {}
        for loss in self.losses:
            name = str(loss.loss_name)
            values[name] = values.get(name, 0) + loss(logits, labels, ignore_index=ignored)
        return values

    def _own_losses(self, step: AdaptationStep) -> dict[str, Tensor]:
        """What the segmentor's own heads make of a batch."""
        batch, segmentor = step.domains[self.domain], step.segmentor
        values: dict[str, Any] = {}
        heads = decode_heads(segmentor)
        for index, (head, output) in enumerate(zip(heads, batch.run().outputs, strict=True)):
            losses = _loss_of(head, output, batch.samples, batch.features.detail)
            values.update(losses if len(heads) == 1 else add_prefix(losses, f"decode_{index}"))
        for index, head in enumerate(auxiliary_heads(segmentor)):
            logits = step.auxiliary_output(index, self.domain)
            values.update(add_prefix(_loss_of(head, logits, batch.samples), f"aux_{index}"))
        return values


def _loss_of(head: Any, output: Any, samples: list, detail: Any = None) -> dict[str, Tensor]:
    """What a head makes of its output.

    Raises:
        ValueError: It reads something that the samples lack.
    """
    try:
        return losses_with_detail(head, output, detail, samples)
    except AttributeError as error:
        if type(samples[0]).__name__ not in str(error):
            raise
        raise ValueError(
            f"{type(head).__name__} learns from more than labels, and the samples lack it ({error}): make it in the "
            "pipeline of the source before PackSegInputs, such as by dict(type='GenerateEdge', edge_width=4) for "
            "gt_edge_map."
        ) from error
