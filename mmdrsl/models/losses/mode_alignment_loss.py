"""Stochastic mode alignment: brings source and target pixels of the same mode together."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from . import functional
from .rank_sums import sum_over_ranks


@MODELS.register_module()
class StochasticModeAlignmentLoss(nn.Module):
    """Alignment of the two domains within each mode (Iqbal et al. 2022 in words; formulas are this project's own).

    Every pixel draws one mode of its (pseudo) class from its responsibilities; for each mode that both domains use,
    random cross-domain pixels are compared. Owns no parameters.

    Args:
        distance: ``pair``, ``energy`` or ``mean``, see `functional.mode_alignment`.
        stochastic: Draw modes; False takes the most probable one.
        detach_source: Move only the target pixels.
        num_pairs: Pairs per mode.
        min_pixels: Smallest number of pixels of a mode in each domain, >= 2.
        margin: For ``pair``, squared distance below which pairs are left alone.
        max_pixels_per_class: Size of the class-balanced sample per class and domain.
        sync_class_counts: In distributed training average over the modes of all ranks, and for ``mean`` take the mode
            means of the global batch. Otherwise each rank averages over the modes that it sees.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        distance: str = "pair",
        stochastic: bool = True,
        detach_source: bool = False,
        num_pairs: int = 32,
        min_pixels: int = 4,
        margin: float = 0.0,
        max_pixels_per_class: int = 256,
        sync_class_counts: bool = False,
    ) -> None:
        super().__init__()
        if distance not in ("pair", "energy", "mean"):
            raise ValueError(f"distance must be 'pair', 'energy' or 'mean', found {distance!r}.")
        if num_pairs < 1 or min_pixels < 2 or max_pixels_per_class < 1 or margin < 0:
            raise ValueError(
                "num_pairs and max_pixels_per_class must be >= 1, min_pixels >= 2 and margin >= 0, found "
                f"{num_pairs}, {max_pixels_per_class}, {min_pixels}, {margin}."
            )
        self.distance = distance
        self.stochastic = stochastic
        self.detach_source = detach_source
        self.num_pairs = num_pairs
        self.min_pixels = min_pixels
        self.margin = margin
        self.max_pixels_per_class = max_pixels_per_class
        self.sync_class_counts = sync_class_counts

    def forward(
        self,
        source: Tensor,
        source_labels: Tensor,
        target: Tensor,
        target_labels: Tensor,
        representatives: Tensor,
        bandwidth: float,
        target_weights: Tensor | None = None,
        source_memory: tuple[Tensor, Tensor] | None = None,
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
            target_weights: Optional pseudo-label weights in [0, 1], shape (B', H', W').
            source_memory: Optional remembered source embeddings (M, D) and their modes ``class * K + mode`` (M,). They
                stand in, without gradient, for modes of which the batch has fewer than `min_pixels` source pixels.
            generator: Source of randomness; torch's default where None.

        Returns:
            A scalar; a zero connected to both embeddings where no mode is shared.
        """
        num_classes, num_modes, _ = representatives.shape
        groups, pixels, weights = [], [], None
        for embeddings, labels, label_weights in (
            (source, source_labels, None),
            (target, target_labels, target_weights),
        ):
            valid, classes, weights = functional.select_valid(
                embeddings, labels, num_classes, label_weights
            )
            index = functional.sample_class_balanced(
                classes, num_classes, self.max_pixels_per_class, generator
            )
            valid, classes = valid[index], classes[index]
            weights = None if weights is None else weights[index]
            with torch.no_grad():
                responsibilities = functional.mode_responsibilities(
                    functional.squared_distances(valid, representatives), classes, bandwidth
                )
                modes = functional.assign_modes(responsibilities, self.stochastic, generator)
            groups.append(classes * num_modes + modes)
            pixels.append(valid)
        if self.detach_source:
            pixels[0] = pixels[0].detach()
        if source_memory is not None:
            pixels[0], groups[0] = functional.fill_rare_groups(
                pixels[0], groups[0], *source_memory, num_classes * num_modes, self.min_pixels
            )
        return functional.mode_alignment(
            pixels[0],
            groups[0],
            pixels[1],
            groups[1],
            num_classes * num_modes,
            distance=self.distance,
            num_pairs=self.num_pairs,
            min_pixels=self.min_pixels,
            margin=self.margin,
            target_weights=weights,
            generator=generator,
            combine=sum_over_ranks if self.sync_class_counts else None,
        )
