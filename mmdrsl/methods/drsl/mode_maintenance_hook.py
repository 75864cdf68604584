"""Keeps the modes of a multi-modal distribution head alive and in their place, between steps."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.methods.drsl import functional
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.methods.drsl.source_sample import SourceSample, embed_source_sample, find_mode_head

# K-means on fewer samples than this per mode is noise.
SAMPLES_PER_MODE = 10


def kmeans_representatives(
    embeddings: Tensor,
    labels: Tensor,
    representatives: Tensor,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Cluster centers of each class's embeddings, where the class has enough of them.

    Args:
        embeddings: Unit vectors, shape (N, D).
        labels: Shape (N,), in [0, C).
        representatives: Current modes, shape (C, K, D).
        seed: Seed of the clustering.

    Returns:
        New modes as unit vectors (C, K, D), and which were replaced (C, K).
    """
    # Slow to import, and needed once in a run.
    from sklearn.cluster import KMeans

    num_classes, num_modes, _ = representatives.shape
    renewed = representatives.clone()
    replaced = torch.zeros(num_classes, num_modes, dtype=torch.bool)
    for index in range(num_classes):
        own = embeddings[labels == index].cpu().double().numpy()
        if len(own) < num_modes * SAMPLES_PER_MODE:
            continue
        clustering = KMeans(num_modes, n_init=4, random_state=seed)
        centers = clustering.fit(own).cluster_centers_
        renewed[index] = functional.normalize(torch.from_numpy(centers)).to(renewed)
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
class ModeMaintenanceHook(AdaptationHook):
    """Seeds the modes by k-means of source embeddings once, and revives dead ones at intervals.

    The embeddings come from a seeded sample of source images, computed on the first rank in evaluation mode; the new
    modes are broadcast and their rows of the optimizer's state are reset on every rank. The sample also tells the head
    how frequent the classes are. A teacher's head gets frequencies and new modes as they are.

    Args:
        kmeans_iteration: Step after which the modes are seeded once; 0 never.
        interval: Steps between searches for dead modes after that; 0 never.
        usage_floor: A mode is dead where its share of the class's pixels is below ``usage_floor / K``.
        num_images: Source images in the sample.
        max_pixels_per_class: Pixels per class in the sample.
        head: Name of the `MMDLHead` in the adaptor; a `DRSLHead` has but one.
    """

    acts_in_warmup = True
    changes_segmentor = False

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
        action = self._action(finished)
        if action is None:
            return
        head = find_mode_head(unwrapped(runner), self.head)
        representatives = head.modes().detach()
        replaced = torch.zeros(representatives.shape[:2], dtype=torch.bool)
        if is_main_process():
            embeddings, labels, frequency = self._sample(runner, finished)
            head.class_frequency.copy_(frequency)
            if action == "Revived":
                representatives, replaced = revive_dead_modes(
                    embeddings, labels, representatives, self.usage_floor
                )
            else:
                representatives, replaced = kmeans_representatives(
                    embeddings, labels, representatives, seed=runner.seed
                )
        replaced = replaced.to(representatives.device).to(torch.uint8)
        broadcast(head.class_frequency)
        broadcast(representatives)
        broadcast(replaced)
        mask = replaced.bool()
        teacher = self._teacher_head(runner)
        with torch.no_grad():
            head.representatives[mask] = representatives[mask].to(head.representatives)
            if teacher is not None:
                teacher.class_frequency.copy_(head.class_frequency)
                teacher.representatives[mask] = head.representatives[mask]
        state = runner.optim_wrapper.optimizer.state.get(head.representatives, {})
        for value in state.values():
            if isinstance(value, Tensor) and value.shape == head.representatives.shape:
                value[mask] = 0
        runner.logger.info(f"{action} {int(mask.sum())} of {mask.numel()} modes.")

    def _teacher_head(self, runner: Runner) -> MMDLHead | None:
        """The head of a teacher that has begun."""
        teacher = getattr(unwrapped(runner), "teacher", None)
        if teacher is None or teacher.steps == 0:
            return None
        return teacher.module["heads"][self.head]

    def _action(self, finished: int) -> str | None:
        """What is due after so many steps."""
        since = finished - self.kmeans_iteration
        if self.kmeans_iteration > 0 and since == 0:
            return "Seeded"
        if since <= 0:
            return None
        return "Revived" if self.interval > 0 and since % self.interval == 0 else None

    def _sample(self, runner: Runner, iteration: int) -> SourceSample:
        """A class-balanced sample of source pixels."""
        return embed_source_sample(
            runner,
            find_mode_head(unwrapped(runner), self.head),
            iteration=iteration,
            num_images=self.num_images,
            max_pixels_per_class=self.max_pixels_per_class,
        )
