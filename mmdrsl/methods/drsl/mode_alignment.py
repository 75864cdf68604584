"""Stochastic mode alignment: brings source and target pixels of the same mode together."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.methods.adaptation_term import DOMAINS, AdaptationTerm, ramp
from mmdrsl.methods.drsl import functional
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.label_maps import resize_labels
from mmdrsl.models.losses.rank_sums import sum_over_ranks


@MODELS.register_module()
class StochasticModeAlignmentLoss(nn.Module):
    """Alignment of the two domains within each mode (Iqbal et al. 2022 in words; formulas are this project's own).

    Every pixel draws one mode of its (pseudo) class from its responsibilities; for each mode that both domains use,
    random cross-domain pairs of pixels are compared. In distributed training the mean is over the modes of all ranks.
    Owns no parameters.

    Args:
        num_pairs: Pairs per mode.
        min_pixels: Smallest number of pixels of a mode in each domain, >= 1.
        max_pixels_per_class: Size of the class-balanced sample per class and domain.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self, *, num_pairs: int = 32, min_pixels: int = 4, max_pixels_per_class: int = 256
    ) -> None:
        super().__init__()
        if min(num_pairs, min_pixels, max_pixels_per_class) < 1:
            raise ValueError(
                "num_pairs, min_pixels and max_pixels_per_class must be >= 1, found "
                f"{num_pairs}, {min_pixels}, {max_pixels_per_class}."
            )
        self.num_pairs = num_pairs
        self.min_pixels = min_pixels
        self.max_pixels_per_class = max_pixels_per_class

    def forward(
        self,
        source: Tensor,
        source_labels: Tensor,
        target: Tensor,
        target_labels: Tensor,
        representatives: Tensor,
        bandwidth: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            source: Unit embeddings, shape (B, D, H, W).
            source_labels: Shape (B, H, W); values outside [0, C) are ignored.
            target: Unit embeddings, shape (B', D, H', W').
            target_labels: Pseudo labels, shape (B', H', W').
            representatives: Unit vectors, shape (C, K, D). They choose the modes and get no gradient here.
            bandwidth: Standard deviation of every mode.
            generator: Source of randomness; torch's default where None.

        Returns:
            A scalar; a zero connected to both embeddings where no mode is shared.
        """
        num_classes, num_modes, _ = representatives.shape
        groups, pixels = [], []
        for embeddings, labels in ((source, source_labels), (target, target_labels)):
            valid, classes = functional.select_valid(embeddings, labels, num_classes)
            index = functional.sample_class_balanced(
                classes, num_classes, self.max_pixels_per_class, generator
            )
            valid, classes = valid[index], classes[index]
            with torch.no_grad():
                responsibilities = functional.mode_responsibilities(
                    functional.squared_distances(valid, representatives), classes, bandwidth
                )
                modes = functional.draw_modes(responsibilities, generator)
            groups.append(classes * num_modes + modes)
            pixels.append(valid)
        return functional.mode_alignment(
            pixels[0],
            groups[0],
            pixels[1],
            groups[1],
            num_classes * num_modes,
            num_pairs=self.num_pairs,
            min_pixels=self.min_pixels,
            generator=generator,
            combine=sum_over_ranks,
        )


@MODELS.register_module()
class ModeAlignmentTerm(AdaptationTerm):
    """Applies `StochasticModeAlignmentLoss` to source and target embeddings, ramped up after the warm-up.

    Args:
        loss: Config of the loss.
        weight: Factor after the ramp, >= 0.
        ramp_iterations: Length of the linear ramp in steps, counted from the first adaptation step.
        head: Name of the `MMDLHead` in the adaptor.
        target: ``labels`` takes target pixels with a pseudo label of the round; ``mixed`` those in the mixed images of
            a `ClassMixTerm` about which the teacher is confident.

    Raises:
        ValueError: `target` is something else.
    """

    def __init__(
        self,
        *,
        loss: dict | None = None,
        weight: float = 0.05,
        ramp_iterations: int = 1000,
        head: str = "mmdl",
        target: str = "labels",
    ) -> None:
        super().__init__(domains=DOMAINS, weight=weight)
        if target not in ("labels", "mixed"):
            raise ValueError(f"target must be 'labels' or 'mixed', found {target!r}.")
        self.target = target
        self.loss = MODELS.build(loss or dict(type="StochasticModeAlignmentLoss"))
        self.ramp_iterations = ramp_iterations
        self.head = head

    @property
    def needs_mixed_images(self) -> bool:
        """Whether the term reads mixed images."""
        return self.target == "mixed"

    def weight_at(self, adaptation_iteration: int) -> float:
        """Factor on the ramp."""
        return self.weight * ramp(adaptation_iteration, self.ramp_iterations)

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The alignment loss."""
        head = step.head(self.head)
        pairs = [(step.head_output(self.head, "source"), step.domains["source"].labels)]
        if self.target == "mixed":
            view = step.mixed_view()
            labels = view.labels.masked_fill(view.of_source, step.ignore_index)
            pairs.append((step.mixed_head_output(self.head), labels))
        else:
            pairs.append((step.head_output(self.head, "target"), step.domains["target"].labels))
        inputs = []
        for embeddings, labels in pairs:
            inputs += [embeddings, resize_labels(labels, embeddings.shape[2:])]
        weight = self.weight_at(step.progress.adaptation_iteration)
        return {"loss_alignment": weight * self.loss(*inputs, head.modes(), head.bandwidth)}
