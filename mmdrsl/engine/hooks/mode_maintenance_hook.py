"""Keeps the modes of a multi-modal distribution head alive, between steps."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from sklearn.cluster import KMeans
from torch import Tensor

from ...models.losses import functional
from ..source_sample import embed_source_sample, find_mode_head, unwrapped

# K-means on fewer samples than this per mode is noise.
SAMPLES_PER_MODE = 10


def kmeans_representatives(
    embeddings: Tensor, labels: Tensor, representatives: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Cluster centres of each class's embeddings, where the class has enough of them.

    Args:
        embeddings: Unit vectors, shape (N, D).
        labels: Shape (N,), in [0, C).
        representatives: Current modes, shape (C, K, D).
        seed: Seed of the clustering.

    Returns:
        New modes as unit vectors (C, K, D), and which were replaced (C, K).
    """
    num_classes, num_modes, _ = representatives.shape
    renewed = representatives.clone()
    replaced = torch.zeros(num_classes, num_modes, dtype=torch.bool)
    for index in range(num_classes):
        own = embeddings[labels == index].cpu().double().numpy()
        if len(own) < num_modes * SAMPLES_PER_MODE:
            continue
        centres = KMeans(num_modes, n_init=4, random_state=seed).fit(own).cluster_centers_
        renewed[index] = functional.normalise(torch.from_numpy(centres)).to(renewed)
        replaced[index] = True
    return renewed, replaced


def revive_dead_modes(
    embeddings: Tensor, labels: Tensor, representatives: Tensor, usage_floor: float
) -> tuple[Tensor, Tensor]:
    """Move modes that hardly any pixel uses to the embeddings that their class explains worst.

    Args:
        embeddings: Unit vectors, shape (N, D).
        labels: Shape (N,), in [0, C).
        representatives: Unit vectors, shape (C, K, D).
        usage_floor: A mode is dead where its share of the class's pixels is below ``usage_floor / K``.

    Returns:
        New modes (C, K, D), and which were replaced (C, K).
    """
    num_classes, num_modes, _ = representatives.shape
    renewed = representatives.clone()
    replaced = torch.zeros(num_classes, num_modes, dtype=torch.bool)
    own_distances = functional.own_class_distances(
        functional.squared_distances(embeddings, representatives), labels
    )
    for index in range(num_classes):
        member = labels == index
        if member.sum() < num_modes * SAMPLES_PER_MODE:
            continue
        distances = own_distances[member]
        usage = torch.bincount(distances.argmin(dim=1), minlength=num_modes) / len(distances)
        dead = (usage < usage_floor / num_modes).nonzero()[:, 0]
        farthest = distances.amin(dim=1).argsort(descending=True)[: len(dead)]
        renewed[index, dead] = embeddings[member][farthest].to(renewed)
        replaced[index, dead.cpu()] = True
    return renewed, replaced


@HOOKS.register_module()
class ModeMaintenanceHook(Hook):
    """Seeds the modes by k-means of source embeddings once, and revives dead modes at intervals.

    The embeddings come from a seeded sample of source images, computed on the first rank in evaluation mode; the new
    modes are broadcast and their rows of the optimizer's state are reset on every rank.

    Args:
        kmeans_iteration: Step after which the modes are seeded once; 0 never.
        interval: Steps between searches for dead modes after that; 0 never.
        usage_floor: A mode is dead where its share of the class's pixels is below ``usage_floor / K``.
        num_images: Source images in the sample.
        max_pixels_per_class: Pixels per class in the sample.
        head: Name of the `MMDLHead` in the adaptor; a `DRSLHead` has but one.
    """

    def __init__(
        self,
        *,
        kmeans_iteration: int = 500,
        interval: int = 500,
        usage_floor: float = 0.1,
        num_images: int = 32,
        max_pixels_per_class: int = 1000,
        head: str = "mmdl",
    ) -> None:
        self.kmeans_iteration = kmeans_iteration
        self.interval = interval
        self.usage_floor = usage_floor
        self.num_images = num_images
        self.max_pixels_per_class = max_pixels_per_class
        self.head = head

    def before_train(self, runner: Runner) -> None:
        """Check that the model has the head.

        Raises:
            ValueError: The model has no `MMDLHead` of that name.
        """
        find_mode_head(unwrapped(runner), self.head)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Seed or revive, where this step is one of those."""
        finished = runner.iter + 1
        seeding = finished == self.kmeans_iteration
        reviving = (
            self.interval > 0
            and finished > self.kmeans_iteration
            and (finished - self.kmeans_iteration) % self.interval == 0
        )
        if not seeding and not reviving:
            return
        head = find_mode_head(unwrapped(runner), self.head)
        representatives = head.modes().detach()
        replaced = torch.zeros(representatives.shape[:2], dtype=torch.bool)
        if is_main_process():
            embeddings, labels = self._sample(runner, finished)
            if seeding:
                representatives, replaced = kmeans_representatives(
                    embeddings, labels, representatives, seed=runner.seed
                )
            else:
                representatives, replaced = revive_dead_modes(
                    embeddings, labels, representatives, self.usage_floor
                )
        replaced = replaced.to(representatives.device).to(torch.uint8)
        broadcast(representatives)
        broadcast(replaced)
        mask = replaced.bool()
        with torch.no_grad():
            head.representatives[mask] = representatives[mask].to(head.representatives)
        # What the mode meant before is of no use to its new place.
        head.forget(mask)
        state = runner.optim_wrapper.optimizer.state.get(head.representatives, {})
        for value in state.values():
            if isinstance(value, Tensor) and value.shape == head.representatives.shape:
                value[mask] = 0
        runner.logger.info(
            f"{'Seeded' if seeding else 'Revived'} {int(mask.sum())} of {mask.numel()} modes."
        )

    def _sample(self, runner: Runner, iteration: int) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) and labels (N,) of a class-balanced sample of source pixels."""
        return embed_source_sample(
            runner,
            find_mode_head(unwrapped(runner), self.head),
            iteration=iteration,
            num_images=self.num_images,
            max_pixels_per_class=self.max_pixels_per_class,
        )
