"""Mode metric loss: pulls a pixel to a mode of its class and away from every mode of other classes."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from . import functional
from .rank_sums import sum_over_ranks


@MODELS.register_module()
class ModeMetricLoss(nn.Module):
    """Distance-metric loss of the multi-modal distribution head, this project's own formulation.

    ``mean over present classes of mean over pixels w * (margin term + posterior_weight * posterior term)`` with the
    margin term of RepMet (Karlinsky et al. 2019) and ``-log q(label)`` of the mode mixture as posterior term, computed
    on a class-balanced random sample of pixels. Adds ``usage_weight`` times the usage penalty and ``spread_weight``
    times the spread penalty against collapsed modes. Owns no parameters.

    Args:
        margin: Gap in squared distance between own and nearest other class, >= 0.
        posterior_weight: Factor of the posterior term, >= 0.
        class_distance: ``min`` (nearest mode) or ``softmin``.
        class_balanced: Sample and average per class; otherwise uniformly over all pixels. Source labels profit from
            the balance. Pseudo labels whose selection is class-balanced already do not: balancing them again multiplies
            the errors of rare classes.
        max_pixels_per_class: Size of the sample per class, >= 1; without balance C times as many pixels in all.
        usage_weight: Factor of the usage penalty, >= 0.
        spread_weight: Factor of the spread penalty, >= 0.
        sync_class_counts: In distributed training take all means over the pixels of all ranks. Otherwise each rank
            averages over the classes that it sees.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        posterior_weight: float = 0.5,
        class_distance: str = "min",
        class_balanced: bool = True,
        max_pixels_per_class: int = 256,
        usage_weight: float = 0.01,
        spread_weight: float = 0.01,
        sync_class_counts: bool = False,
    ) -> None:
        super().__init__()
        if min(margin, posterior_weight, usage_weight, spread_weight) < 0:
            raise ValueError(
                "margin, posterior_weight, usage_weight and spread_weight must be >= 0, found "
                f"{margin}, {posterior_weight}, {usage_weight}, {spread_weight}."
            )
        if class_distance not in ("min", "softmin"):
            raise ValueError(
                f"class_distance must be 'min' or 'softmin', found {class_distance!r}."
            )
        if max_pixels_per_class < 1:
            raise ValueError(f"max_pixels_per_class must be >= 1, found {max_pixels_per_class}.")
        self.margin = margin
        self.posterior_weight = posterior_weight
        self.class_distance = class_distance
        self.class_balanced = class_balanced
        self.max_pixels_per_class = max_pixels_per_class
        self.usage_weight = usage_weight
        self.spread_weight = spread_weight
        self.sync_class_counts = sync_class_counts

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        representatives: Tensor,
        bandwidth: float,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            embeddings: Unit vectors, shape (B, D, H, W).
            labels: Shape (B, H, W); values outside [0, C) are ignored.
            representatives: Unit vectors, shape (C, K, D).
            bandwidth: Standard deviation of every mode.
            weights: Optional pseudo-label weights in [0, 1], shape (B, H, W).
            generator: Source of randomness; torch's default where None.

        Returns:
            A scalar connected to embeddings and representatives; only the spread penalty where no pixel is valid.
        """
        num_classes = representatives.shape[0]
        pixels, pixel_labels, pixel_weights = functional.select_valid(
            embeddings, labels, num_classes, weights
        )
        if self.class_balanced:
            index = functional.sample_class_balanced(
                pixel_labels, num_classes, self.max_pixels_per_class, generator
            )
        else:
            order = torch.randperm(len(pixels), generator=generator, device=pixels.device)
            index = order[: self.max_pixels_per_class * num_classes]
        pixels, pixel_labels = pixels[index], pixel_labels[index]
        pixel_weights = None if pixel_weights is None else pixel_weights[index]
        distances = functional.squared_distances(pixels, representatives)
        log_posterior = functional.class_log_posterior(distances, bandwidth)
        per_pixel = functional.margin_loss(
            functional.class_distances(distances, self.class_distance), pixel_labels, self.margin
        )
        per_pixel = (
            per_pixel - self.posterior_weight * log_posterior.gather(1, pixel_labels[:, None])[:, 0]
        )
        combine = sum_over_ranks if self.sync_class_counts else None
        if self.class_balanced:
            metric = functional.class_balanced_mean(
                per_pixel, pixel_labels, num_classes, pixel_weights, combine
            )
        else:
            metric = functional.pixel_mean(per_pixel, pixel_weights, combine)
        usage = functional.mode_usage_penalty(
            functional.mode_responsibilities(distances, pixel_labels, bandwidth),
            pixel_labels,
            num_classes,
            min_pixels=min(64, self.max_pixels_per_class),
            combine=combine,
        )
        spread = functional.mode_spread_penalty(representatives)
        return metric + self.usage_weight * usage + self.spread_weight * spread
