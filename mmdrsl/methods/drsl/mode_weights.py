"""Modes as weights: source pixels of modes that are frequent in the target count more.

This project's own use of DRSL's modes. Modes are sub-types of a class, such as near and far cars, whose shares differ
between the domains. The modes leave the labels alone and weigh the source's cross entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.methods.drsl import functional
from mmdrsl.models.adaptation_step import AdaptationStep, pixel_loss
from mmdrsl.models.feature_maps import decode_heads, inner_head, own_losses
from mmdrsl.models.label_maps import resize_labels
from mmdrsl.models.losses.segmentation_losses import WeightedCrossEntropyLoss

_CROSS_ENTROPIES = (CrossEntropyLoss, WeightedCrossEntropyLoss)


@MODELS.register_module()
class ModeWeightTerm(AdaptationTerm):
    """Turns the source's cross entropy into one in which every pixel has the weight of its mode.

    The weight of a mode is its share of the class's pixels in the target over its share in the source, see
    `mode_weights`. Source pixels belong to modes by their labels, target pixels by the teacher's classes; both shares
    are averages over the steps, which checkpoints hold. A pixel between modes has the mean of their weights. The term
    is the difference of the weighted loss to the plain one, to be added to a `SegmentationTerm` of the source, so it
    may be negative. It weighs the losses of the decode head that predicts, HRDA's detail included, and not those of
    auxiliary heads or of earlier heads of a cascade.

    Args:
        weight: Factor of the difference, in [0, 1]; with 1 the sum of both terms is the weighted loss.
        head: Name of the `MMDLHead` in the adaptor.
        momentum: Weight of a step's counts of pixels in their averages, in (0, 1].
        limit: Largest weight of a pixel, >= 1; the smallest is its inverse.

    Raises:
        ValueError: An argument is outside its range, or the decode head that predicts has another loss than cross
            entropies of its own, or samples pixels.
    """

    needs_teacher = True
    counts: Tensor

    def __init__(
        self, *, weight: float = 1.0, head: str = "mmdl", momentum: float = 0.02, limit: float = 3.0
    ) -> None:
        super().__init__(domains=("source", "target"), weight=weight)
        if weight > 1 or not 0 < momentum <= 1 or limit < 1:
            raise ValueError(
                "weight must be in [0, 1], momentum in (0, 1] and limit >= 1, found "
                f"{weight}, {momentum} and {limit}."
            )
        self.head = head
        self.momentum = momentum
        self.limit = limit
        # Pixels of each mode in source and target, (2, C, K); the head knows how many there are.
        self.register_buffer("counts", torch.zeros(2, 0, 0))
        self._counts_of_step: Tensor | None = None

    def begin_with(self, segmentor: Any, classes: Sequence[str] | None) -> None:
        """Refuse a decode head whose loss is no weighted mean over all labeled pixels.

        Args:
            segmentor: The segmentor.
            classes: Not read.

        Raises:
            ValueError: As the class says.
        """
        head = decode_heads(segmentor)[-1]
        losses = own_losses(head)
        sampler = getattr(inner_head(head), "sampler", None)
        if sampler or not losses or not all(isinstance(loss, _CROSS_ENTROPIES) for loss in losses):
            found = [type(each).__name__ for each in (*losses, *([sampler] if sampler else []))]
            raise ValueError(
                f"ModeWeightTerm weighs pixels in the cross entropy of {type(head).__name__}, found {found or 'none'}, "
                "expected CrossEntropyLoss or WeightedCrossEntropyLoss in its own loss_decode, and no sampler: set "
                "these, choose another decode head, or leave the term out."
            )

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The difference of the losses, and the mean absolute logarithm of the weights, which is 0 where all are 1."""
        batch, head = step.domains["source"], step.head(self.head)
        embeddings = step.head_output(self.head, "source").detach()
        labels = resize_labels(batch.labels, embeddings.shape[2:])
        modes, source_counts = _modes_of_pixels(embeddings, labels, head)
        embeddings = step.teacher_head_output(self.head)
        classes = resize_labels(step.teacher_best()[1], tuple(embeddings.shape[2:]))
        _, target_counts = _modes_of_pixels(embeddings, classes, step.teacher_head(self.head))
        self._counts_of_step = torch.stack([source_counts, target_counts])

        averages = self._averages(like=self._counts_of_step)
        weights = functional.mode_weights(averages[0], averages[1], limit=self.limit)
        excess = _weights_of_pixels(modes, labels, weights, batch.labels.shape[1:]) - 1
        losses = own_losses(decode_heads(step.segmentor)[-1])
        difference = pixel_loss(
            step.segmentor,
            batch.run(),
            batch.labels,
            weight=excess,
            loss=lambda *pixels, **options: sum(loss(*pixels, **options) for loss in losses),
        )
        return {
            "loss_mode_weights": self.weight * difference,
            "spread": weights.log().abs().mean(),
        }

    def after_step(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Average the step's counts of pixels in, over all ranks."""
        if self._counts_of_step is None:
            return {}
        counts, self._counts_of_step = self._counts_of_step, None
        all_reduce(counts)
        self.counts = torch.lerp(self._averages(like=counts), counts, self.momentum)
        return {}

    def _averages(self, like: Tensor) -> Tensor:
        """The averages; zeros before the first step."""
        return self.counts if self.counts.numel() else torch.zeros_like(like)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the shape of the counts from the checkpoint."""
        counts = state_dict.get(prefix + "counts")
        if counts is not None:
            self.counts = self.counts.new_zeros(counts.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@torch.no_grad()
def _modes_of_pixels(embeddings: Tensor, labels: Tensor, head: Any) -> tuple[Tensor, Tensor]:
    """Modes of labeled pixels: probabilities (N, K), and the pixels of each mode (C, K)."""
    pixels, classes = functional.select_valid(embeddings, labels, head.num_classes)
    distances = functional.squared_distances(pixels, head.modes())
    modes = functional.mode_responsibilities(distances, classes, head.bandwidth)
    return modes, functional.mode_counts(modes, classes, head.num_classes)


@torch.no_grad()
def _weights_of_pixels(
    responsibilities: Tensor, labels: Tensor, weights: Tensor, size: tuple[int, ...]
) -> Tensor:
    """Expected weight of each pixel under its modes, at the size of the image; 1 where nothing is labeled.

    Args:
        responsibilities: Modes of the labeled pixels, shape (N, K).
        labels: Shape (B, h, w); values outside [0, C) are ignored.
        weights: Shape (C, K).
        size: (height, width) of the result.
    """
    valid = (labels >= 0) & (labels < len(weights))
    dense = torch.ones(labels.shape, device=labels.device)
    dense[valid] = (responsibilities * weights[labels[valid]]).sum(dim=1)
    return resize(dense[:, None], size=tuple(size), mode="nearest")[:, 0]
