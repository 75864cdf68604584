"""What the terms of mode learning read of a domain: embeddings, and labels and weights at their resolution."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..label_maps import resize_labels, resize_weights, stack_confidences
from .adaptation_term import AdaptationStep


class ModeInputs(NamedTuple):
    """One domain's inputs of a mode loss.

    Attributes:
        embeddings: Unit vectors, shape (B, D, h, w).
        labels: Shape (B, h, w); values outside [0, C) are ignored.
        weights: Pseudo-label weights in [0, 1], shape (B, h, w); None on the source and where they are not wanted.
    """

    embeddings: Tensor
    labels: Tensor
    weights: Tensor | None


def mode_inputs(
    step: AdaptationStep, head: str, domain: str, *, min_label_purity: float | None, weighted: bool
) -> ModeInputs:
    """Collect a domain's inputs.

    Args:
        step: The training step.
        head: Name of the `MMDLHead` in the adaptor.
        domain: ``source`` or ``target``; it must be in the batch.
        min_label_purity: See `label_maps.resize_labels`.
        weighted: Read the weights of the target's pseudo labels.

    Raises:
        ValueError: There is no head of that name, or weights are wanted and missing.
    """
    embeddings = step.head_output(head, domain)
    batch, size = step.domains[domain], embeddings.shape[2:]
    weights = None
    if weighted and domain == "target":
        confidences = stack_confidences(batch.samples, batch.labels.shape)
        weights = resize_weights(confidences, size).to(embeddings.device)
    return ModeInputs(embeddings, resize_labels(batch.labels, size, min_label_purity), weights)
