"""Takes the statistics of batch normalisation from unlabelled target images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import Dataset

from ...datasets.two_domain import DomainSample, TwoDomainDataset
from ...datasets.unlabelled import UnlabelledDataset
from ...models.feature_maps import feature_maps
from ...models.normalisation import calibrate_running_statistics
from ...models.segmentors import UDASegmentor
from ..source_sample import unwrapped
from .self_training_hook import LABELLING_PIPELINE, SelfTrainingHook, build_phases

# Goes into checkpoints, with the step after which statistics were taken last.
_CALIBRATED = "target_normalisation_step"


@HOOKS.register_module()
class TargetNormalisationHook(Hook):
    """Takes running statistics from target images, wholly or in part, for student and teacher.

    On target images alone this is AdaBN (Li et al. 2016). It acts before a model labels, before it is evaluated and at
    the end of the run. Where batches are normalised by their own statistics, that changes what the model predicts and
    what a checkpoint of that step holds, not how the weights learn. With ``model.normalisation="frozen"`` each round
    labels, trains and predicts under the statistics of its beginning, and an evaluation inside a round leaves them.

    Args:
        target_share: Share of the target in the statistics, in (0, 1].
        rest: Where the rest comes from: ``source``, from source images as they are drawn for training; ``running``,
            from what the layers hold at that moment (Schneider et al. 2020), which needs batches that renew it.
        num_images: Images of a domain to take, >= 1, shared out over the ranks: target images evenly spaced over the
            dataset, source images at random.
        batch_size: Images per forward pass, >= 1; images of different size are cut to the smallest of their batch.

    Raises:
        ValueError: A number is below 1, the share outside (0, 1], or `rest` is unknown.
    """

    # Before CheckpointHook (VERY_LOW), so that the checkpoint of this step has the statistics.
    priority = "LOW"

    def __init__(
        self,
        *,
        target_share: float = 1.0,
        rest: str = "source",
        num_images: int = 200,
        batch_size: int = 8,
    ) -> None:
        if num_images < 1 or batch_size < 1:
            raise ValueError(
                f"num_images and batch_size must be >= 1, found {num_images} and {batch_size}."
            )
        if not 0 < target_share <= 1:
            raise ValueError(f"target_share must be in (0, 1], found {target_share}.")
        if rest not in ("source", "running"):
            raise ValueError(f"rest must be 'source' or 'running', found {rest!r}.")
        self.target_share = target_share
        self.rest = rest
        self.num_images = num_images
        self.batch_size = batch_size

    def before_train(self, runner: Runner) -> None:
        """Check that there are target images; calibrate where the run begins with a round.

        Raises:
            TypeError: The training data have no target.
            ValueError: Frozen statistics are to be mixed into themselves.
        """
        if "target" not in getattr(runner.train_dataloader.dataset, "domains", {}):
            raise TypeError(
                "TargetNormalisationHook takes statistics of target images, but train_dataloader.dataset has no "
                "target. Use a TwoDomainDataset with target=dict(type='UnlabelledDataset', ...)."
            )
        if self.rest == "running" and unwrapped(runner).normalisation == "frozen":
            raise ValueError(
                "rest='running' with model.normalisation='frozen' would move further to the target with every round, "
                "for nothing renews the statistics in between: use rest='source'."
            )
        # A checkpoint that was saved after this step's calibration has its statistics.
        known = runner.message_hub.runtime_info.get(_CALIBRATED)
        if runner.iter in self._round_begins(runner) and known != runner.iter:
            self._calibrate(runner, finished=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Calibrate at the end of a phase of self-training, before an evaluation, and at the end of the run."""
        finished = runner.iter + 1
        loop = runner.train_loop
        frozen = unwrapped(runner).normalisation == "frozen"
        evaluates = runner.val_loop is not None and finished % loop.val_interval == 0
        if (
            finished in self._round_begins(runner)
            or finished == loop.max_iters
            or (evaluates and not frozen)
        ):
            self._calibrate(runner, finished=finished)

    @staticmethod
    def _round_begins(runner: Runner) -> set[int]:
        """Numbers of finished steps after which a round begins."""
        last = runner.train_loop.max_iters
        return {
            phase.begin
            for hook in runner.hooks
            if isinstance(hook, SelfTrainingHook)
            for phase in build_phases(hook.warmup_iterations, hook.rounds, last)
            if phase.number > 0
        }

    def _calibrate(self, runner: Runner, *, finished: int) -> None:
        model = unwrapped(runner)
        self._calibrate_networks(runner, model, model.networks(), finished)
        if model.teacher is not None and model.teacher.steps > 0:
            # A teacher is always in evaluation mode; this one call lets its layers take statistics.
            model.teacher.module.train()
            self._calibrate_networks(runner, model, model.teacher.module, finished)
            model.teacher.eval()
        runner.message_hub.update_info(_CALIBRATED, finished)

    def _calibrate_networks(
        self, runner: Runner, model: UDASegmentor, networks: nn.ModuleDict, finished: int
    ) -> None:
        segmentor: Any = networks["segmentor"]
        heads: Any = networks["heads"]

        def forward(images: Tensor) -> None:
            features = feature_maps(segmentor, images)
            for head in heads.values():
                head(features)

        dataset = runner.train_dataloader.dataset
        if self.target_share < 1 and self.rest == "source":
            drawn = self._source_batches(model, dataset, seed=runner.seed, finished=finished)
            calibrate_running_statistics(networks, forward, drawn)
        whole = self._target_batches(model, dataset.domains["target"])
        calibrate_running_statistics(networks, forward, whole, share=self.target_share)

    def _source_batches(
        self, model: UDASegmentor, dataset: TwoDomainDataset, *, seed: int, finished: int
    ) -> Iterator[Tensor]:
        rank, world_size = get_dist_info()
        rng = np.random.default_rng([seed, finished, rank])
        count = max(1, self.num_images // world_size)
        chosen = rng.integers(len(dataset.domains["source"]), size=count)
        draws = [DomainSample("source", int(i), int(rng.integers(2**32))) for i in chosen]
        return self._batches(model, dataset, draws)

    def _target_batches(self, model: UDASegmentor, target: UnlabelledDataset) -> Iterator[Tensor]:
        dataset = copy.copy(target)
        dataset.pipeline = Compose(LABELLING_PIPELINE)
        rank, world_size = get_dist_info()
        chosen = np.linspace(0, len(dataset) - 1, min(self.num_images, len(dataset))).astype(int)
        shard = chosen[rank::world_size] if len(chosen) >= world_size else chosen
        return self._batches(model, dataset, list(shard))

    def _batches(
        self, model: UDASegmentor, dataset: Dataset, keys: Sequence[Any]
    ) -> Iterator[Tensor]:
        for begin in range(0, len(keys), self.batch_size):
            batch = pseudo_collate([dataset[key] for key in keys[begin : begin + self.batch_size]])
            height, width = np.min([image.shape[1:] for image in batch["inputs"]], axis=0)
            batch["inputs"] = [image[:, :height, :width] for image in batch["inputs"]]
            yield model.data_preprocessor(batch, False)["inputs"]
