"""The segmentation of a domain by one of the classifiers, at the size of the images."""

from __future__ import annotations

from typing import Any

from mmseg.models.utils import resize
from torch import Tensor

from .adaptation_term import AdaptationStep


def full_size_logits(step: AdaptationStep, domain: str, head: str | None = None) -> Tensor:
    """Logits of the decode head, or of a further head of the adaptor.

    Args:
        step: The training step.
        domain: ``source`` or ``target``; it must be in the batch.
        head: Name of a head in ``model.heads`` whose output are logits; None takes the segmentor's decode head.

    Returns:
        Shape (B, C, H, W), float32, connected.

    Raises:
        ValueError: There is no head of that name, or its output has another number of channels than the segmentor's.
    """
    batch, segmentor = step.domains[domain], step.segmentor
    logits = batch.logits if head is None else step.head_output(head, domain)
    if logits.shape[1] != batch.logits.shape[1]:
        raise ValueError(
            f"model.heads.{head} gives {logits.shape[1]} channels, the segmentor {batch.logits.shape[1]}; a term that "
            "reads its logits needs a classifier, such as an FCNHead with the segmentor's num_classes."
        )
    decoder: Any = segmentor
    return resize(
        logits,
        size=batch.labels.shape[1:],
        mode="bilinear",
        align_corners=decoder.align_corners,
    ).float()
