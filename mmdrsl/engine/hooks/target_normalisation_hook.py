"""Takes the statistics of batch normalisation from unlabelled target images."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ...datasets.unlabelled import UnlabelledDataset
from ...models.feature_maps import feature_maps
from ...models.normalisation import calibrate_running_statistics
from ...models.segmentors import UDASegmentor
from .self_training_hook import LABELLING_PIPELINE, SelfTrainingHook, build_phases

CALIBRATED_KEY = "target_normalisation_iteration"


@HOOKS.register_module()
class TargetNormalisationHook(Hook):
    """Recomputes running statistics on target images, for student and teacher (AdaBN, Li et al. 2016).

    Where batches are normalised by their own statistics, it acts before a model labels and before it is evaluated: on
    what the model predicts and what a checkpoint of that step holds, not on how the weights learn. With
    ``model.normalisation="frozen"`` it acts once, where the first round begins: the rounds label, train and predict
    under these statistics.

    Args:
        target_share: Share of the target's statistics in the new ones, in (0, 1]; the rest are those that the model
            has, such as the source's at the end of the warm-up. Half of both is what a batch of both domains has.
        num_images: Target images to take, evenly spaced over the dataset and shared out over the ranks, >= 1.
        batch_size: Images per forward pass, >= 1; images of different size are cut to the smallest of their batch.

    Raises:
        ValueError: A number is below 1, or the share outside (0, 1].
    """

    # Before CheckpointHook (VERY_LOW), so that the checkpoint of this step has the statistics.
    priority = "LOW"

    def __init__(
        self, *, target_share: float = 1.0, num_images: int = 200, batch_size: int = 8
    ) -> None:
        if num_images < 1 or batch_size < 1:
            raise ValueError(
                f"num_images and batch_size must be >= 1, found {num_images} and {batch_size}."
            )
        if not 0 < target_share <= 1:
            raise ValueError(f"target_share must be in (0, 1], found {target_share}.")
        self.target_share = target_share
        self.num_images = num_images
        self.batch_size = batch_size

    def before_train(self, runner: Runner) -> None:
        """Check that there are target images; calibrate where the run begins with a round, unless that was done.

        Raises:
            TypeError: The training data have no target.
        """
        if "target" not in getattr(runner.train_dataloader.dataset, "domains", {}):
            raise TypeError(
                "TargetNormalisationHook takes statistics of target images, but train_dataloader.dataset has no "
                "target. Use a TwoDomainDataset with target=dict(type='UnlabelledDataset', ...)."
            )
        # A checkpoint of this step has the statistics already, and mixing them twice would be another mixture.
        done = runner.message_hub.runtime_info.get(CALIBRATED_KEY) == runner.iter
        if runner.iter in self._round_begins(runner) and not done:
            self._calibrate(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Calibrate at the end of a phase of self-training, before an evaluation, and at the end of the run."""
        finished = runner.iter + 1
        loop = runner.train_loop
        predicts = finished == loop.max_iters or (
            runner.val_loop is not None and finished % loop.val_interval == 0
        )
        if finished in self._round_begins(runner) or (predicts and not self._is_frozen(runner)):
            self._calibrate(runner)
            runner.message_hub.update_info(CALIBRATED_KEY, finished)

    def _round_begins(self, runner: Runner) -> set[int]:
        """Steps after which a round begins; the first one's alone where the rounds keep the statistics."""
        last = runner.train_loop.max_iters
        return {
            phase.begin
            for hook in runner.hooks
            if isinstance(hook, SelfTrainingHook)
            for phase in build_phases(hook.warmup_iterations, hook.rounds, last)
            if phase.number == 1 or (phase.number > 1 and not self._is_frozen(runner))
        }

    @staticmethod
    def _is_frozen(runner: Runner) -> bool:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        return model.normalisation == "frozen"

    def _calibrate(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._calibrate_networks(runner, model, model.networks())
        if model.teacher is not None and model.teacher.steps > 0:
            # A teacher is always in evaluation mode; this one call lets its layers take statistics.
            model.teacher.module.train()
            self._calibrate_networks(runner, model, model.teacher.module)
            model.teacher.eval()

    def _calibrate_networks(
        self, runner: Runner, model: UDASegmentor, networks: nn.ModuleDict
    ) -> None:
        segmentor: Any = networks["segmentor"]
        heads: Any = networks["heads"]

        def forward(images: Tensor) -> None:
            features = feature_maps(segmentor, images)
            for head in heads.values():
                head(features)

        batches = self._batches(model, runner.train_dataloader.dataset.domains["target"])
        calibrate_running_statistics(networks, forward, batches, share=self.target_share)

    def _batches(self, model: UDASegmentor, target: UnlabelledDataset) -> Iterator[Tensor]:
        dataset = copy.copy(target)
        dataset.pipeline = Compose(LABELLING_PIPELINE)
        rank, world_size = get_dist_info()
        chosen = np.linspace(0, len(dataset) - 1, min(self.num_images, len(dataset))).astype(int)
        shard = chosen[rank::world_size] if len(chosen) >= world_size else chosen
        for begin in range(0, len(shard), self.batch_size):
            batch = pseudo_collate(
                [dataset[index] for index in shard[begin : begin + self.batch_size]]
            )
            height, width = np.min([image.shape[1:] for image in batch["inputs"]], axis=0)
            batch["inputs"] = [image[:, :height, :width] for image in batch["inputs"]]
            yield model.data_preprocessor(batch, False)["inputs"]
