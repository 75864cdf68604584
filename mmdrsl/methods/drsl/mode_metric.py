"""Mode metric loss: pulls a pixel to a mode of its class and away from every mode of other classes."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.methods.adaptation_term import DOMAINS, AdaptationTerm
from mmdrsl.methods.drsl import functional
from mmdrsl.models.adaptation_step import AdaptationStep
from mmdrsl.models.label_maps import resize_labels
from mmdrsl.models.losses.rank_sums import sum_over_ranks
from mmdrsl.renamed import renamed_arguments


@MODELS.register_module()
class ModeMetricLoss(nn.Module):
    """Distance-metric loss of the multi-modal distribution head, this project's own formulation.

    ``mean over present classes of mean over pixels (margin term + posterior_weight * posterior term)`` with the margin
    term of RepMet (Karlinsky et al. 2019) and ``-log q(label)`` of the mode mixture as posterior term, computed on a
    class-balanced random sample of pixels. Adds ``usage_weight`` times the usage penalty and ``spread_weight`` times
    the spread penalty against collapsed modes. In distributed training all means are over the pixels of all ranks.
    Owns no parameters.

    Args:
        margin: Gap in squared distance between own and nearest other class, >= 0.
        posterior_weight: Factor of the posterior term, >= 0.
        class_balanced: Sample and average per class; otherwise uniformly over all pixels. Source labels profit from
            the balance. Pseudo labels whose selection is class-balanced already do not: balancing them again multiplies
            the errors of rare classes.
        max_pixels_per_class: Size of the sample per class, >= 1; without balance C times as many pixels in all.
        usage_weight: Factor of the usage penalty, >= 0.
        spread_weight: Factor of the spread penalty, >= 0.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        posterior_weight: float = 0.5,
        class_balanced: bool = True,
        max_pixels_per_class: int = 256,
        usage_weight: float = 0.01,
        spread_weight: float = 0.01,
    ) -> None:
        super().__init__()
        if min(margin, posterior_weight, usage_weight, spread_weight) < 0:
            raise ValueError(
                "margin, posterior_weight, usage_weight and spread_weight must be >= 0, found "
                f"{margin}, {posterior_weight}, {usage_weight}, {spread_weight}."
            )
        if max_pixels_per_class < 1:
            raise ValueError(f"max_pixels_per_class must be >= 1, found {max_pixels_per_class}.")
        self.margin = margin
        self.posterior_weight = posterior_weight
        self.class_balanced = class_balanced
        self.max_pixels_per_class = max_pixels_per_class
        self.usage_weight = usage_weight
        self.spread_weight = spread_weight

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        representatives: Tensor,
        bandwidth: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            embeddings: Unit vectors, shape (B, D, H, W).
            labels: Shape (B, H, W); values outside [0, C) are ignored.
            representatives: Unit vectors, shape (C, K, D).
            bandwidth: Standard deviation of every mode.
            generator: Source of randomness; torch's default where None.

        Returns:
            A scalar connected to embeddings and representatives; only the spread penalty where no pixel is valid.
        """
        num_classes = representatives.shape[0]
        pixels, pixel_labels = functional.select_valid(embeddings, labels, num_classes)
        if self.class_balanced:
            index = functional.sample_class_balanced(
                pixel_labels, num_classes, self.max_pixels_per_class, generator
            )
        else:
            order = torch.randperm(len(pixels), generator=generator, device=pixels.device)
            index = order[: self.max_pixels_per_class * num_classes]
        pixels, pixel_labels = pixels[index], pixel_labels[index]
        distances = functional.squared_distances(pixels, representatives)
        log_posterior = functional.class_log_posterior(distances, bandwidth)
        per_pixel = functional.margin_loss(distances.amin(dim=2), pixel_labels, self.margin)
        per_pixel = (
            per_pixel - self.posterior_weight * log_posterior.gather(1, pixel_labels[:, None])[:, 0]
        )
        if self.class_balanced:
            metric = functional.class_balanced_mean(
                per_pixel, pixel_labels, num_classes, sum_over_ranks
            )
        else:
            metric = functional.pixel_mean(per_pixel, sum_over_ranks)
        usage = functional.mode_usage_penalty(
            functional.mode_responsibilities(distances, pixel_labels, bandwidth),
            pixel_labels,
            num_classes,
            min_pixels=min(64, self.max_pixels_per_class),
            combine=sum_over_ranks,
        )
        spread = functional.mode_spread_penalty(representatives)
        return metric + self.usage_weight * usage + self.spread_weight * spread


@MODELS.register_module()
@renamed_arguments(domains="domain")
class ModeMetricTerm(AdaptationTerm):
    """Applies `ModeMetricLoss` to the embeddings of a domain, by source labels or by target pseudo labels.

    Args:
        domain: ``source`` or ``target``; ``mixed`` takes the mixed images of a `ClassMixTerm`, by the source's labels
            and by the teacher's classes where it is confident.
        loss: Config of the loss.
        weight: Factor, >= 0.
        head: Name of the `MMDLHead` in the adaptor.

    Raises:
        ValueError: Unknown domain.
    """

    def __init__(
        self,
        *,
        domain: str,
        loss: dict | None = None,
        weight: float = 0.1,
        head: str = "mmdl",
    ) -> None:
        domains = DOMAINS if domain == "mixed" else (domain,)
        super().__init__(domains=domains, weight=weight)
        self.domain = domain
        self.loss = MODELS.build(loss or dict(type="ModeMetricLoss"))
        self.head = head

    @property
    def needs_mixed_images(self) -> bool:
        """Whether the term reads mixed images."""
        return self.domain == "mixed"

    @property
    def trained_head(self) -> str | None:
        """The mode head."""
        return self.head

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The loss of the domain."""
        head = step.head(self.head)
        if self.domain == "mixed":
            embeddings, labels = step.mixed_head_output(self.head), step.mixed_view().labels
        else:
            embeddings = step.head_output(self.head, self.domain)
            labels = step.domains[self.domain].labels
        labels = resize_labels(labels, embeddings.shape[2:])
        loss = self.loss(embeddings, labels, head.modes(), head.bandwidth)
        return {f"loss_{self.domain}": self.weight * loss}
