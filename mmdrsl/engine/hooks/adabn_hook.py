"""Takes the statistics of batch normalization from unlabeled target images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.bn_statistics import (
    check_sample,
    check_target,
    take_statistics,
    target_batches,
)
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.models.batch_norm import normalization_layers
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.renamed import renamed_arguments

# Go into checkpoints: the step after which statistics were taken last, and what the layers held before.
_CALIBRATED = "target_normalization_step"
_UNMIXED = "unmixed_statistics"


@HOOKS.register_module()
@renamed_arguments(target_share="target_weight")
class AdaBNHook(AdaptationHook):
    """Takes running statistics from target images, wholly or in part, for student and teacher.

    On target images alone this is AdaBN (Li et al. 2016). It acts before a model labels, before it is evaluated and at
    the end of the run; on a student whose teacher does both, at the end alone. Where batches are normalized by their
    own statistics, that changes what the model predicts and what a checkpoint of that step holds, not how the weights
    learn. With ``model.bn_mode="frozen"`` each round labels, trains and predicts under the statistics of its beginning,
    and an evaluation inside a round leaves them.

    Args:
        target_weight: Weight of the target in the statistics, in (0, 1]. Below 1, the rest is what the layers hold at
            that moment (Schneider et al. 2020), which needs batches that renew it. Training goes on from the
            statistics without the mixture, so that no mixture enters the next one.
        num_images: Target images to take, >= 2, evenly spaced over the dataset, shared out over the ranks.
        batch_size: Images per forward pass, >= 2; images of different size are cut to the smallest of their batch.
        pipeline: Transforms that load a target image, without random ones, such as those of labeling; by default the
            whole image at its own size.

    Raises:
        ValueError: A number is below 2, or the weight outside (0, 1].
    """

    acts_in_warmup = False
    reads_target = True

    # Before CheckpointHook (VERY_LOW), so that the checkpoint of this step has the statistics.
    priority = "LOW"

    def __init__(
        self,
        *,
        target_weight: float = 1.0,
        num_images: int = 200,
        batch_size: int = 8,
        pipeline: Sequence[dict] | None = None,
    ) -> None:
        check_sample(target_weight=target_weight, num_images=num_images, batch_size=batch_size)
        self.target_weight = target_weight
        self.num_images = num_images
        self.batch_size = batch_size
        self.pipeline = pipeline
        self._unmixed: dict[str, Tensor] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take up the statistics that training goes on from."""
        self._unmixed = checkpoint.get(_UNMIXED)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the statistics that training goes on from, beside the mixture that the model holds."""
        if self._unmixed is not None:
            checkpoint[_UNMIXED] = self._unmixed

    def before_train(self, runner: Runner) -> None:
        """Check that there are target images; calibrate where the run begins with a round.

        Raises:
            TypeError: The training data have no target.
            ValueError: Frozen statistics are to be mixed into themselves, or there is a single target image.
        """
        domains = getattr(runner.train_dataloader.dataset, "domains", {})
        if "target" not in domains:
            raise TypeError(
                "AdaBNHook takes statistics of target images, but train_dataloader.dataset has no "
                "target. Use a TwoDomainDataset with target=dict(type='UnlabelledDataset', ...)."
            )
        if self.target_weight < 1 and unwrapped(runner).bn_mode == "frozen":
            raise ValueError(
                f"target_weight={self.target_weight} with model.bn_mode='frozen' would move further to the target with "
                "every round, for nothing renews the statistics in between: use target_weight=1, or another bn_mode."
            )
        check_target(domains["target"])
        # Layers that the model keeps frozen while it trains show only now.
        unwrapped(runner).train()
        if not normalization_layers(unwrapped(runner).segmentor):
            runner.logger.warning(
                "AdaBNHook changes nothing of the segmentor: it has no batch normalization whose statistics are not "
                "frozen."
            )
        if runner.iter == 0:
            # A checkpoint that only brought weights.
            self._unmixed = None
        # A checkpoint that was saved after this step's calibration has its statistics.
        known = runner.message_hub.runtime_info.get(_CALIBRATED)
        if runner.iter in self._round_begins(runner) and known != runner.iter:
            self._calibrate(runner, finished=runner.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Go on from the statistics without the mixture."""
        if self._unmixed is not None:
            unwrapped(runner).load_state_dict(self._unmixed, strict=False)
        self._unmixed = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Calibrate at the end of a phase of self-training, before an evaluation, and at the end of the run."""
        finished = runner.iter + 1
        loop = runner.train_loop
        frozen = unwrapped(runner).bn_mode == "frozen"
        evaluates = (
            runner.val_loop is not None
            and finished >= loop.val_begin
            and finished % loop.val_interval == 0
        )
        if (
            finished in self._round_begins(runner)
            or finished == loop.max_iters
            or (evaluates and not frozen)
        ):
            self._calibrate(runner, finished=finished)

    @staticmethod
    def _round_begins(runner: Runner) -> set[int]:
        """Numbers of finished steps after which a round begins."""
        return {phase.begin for phase in unwrapped(runner).phases if phase.number > 0}

    def _calibrate(self, runner: Runner, *, finished: int) -> None:
        model = unwrapped(runner)
        if not normalization_layers(model.networks()):
            return
        if self.target_weight < 1:
            self._unmixed = {
                name: buffer.detach().clone()
                for name, buffer in model.named_buffers()
                if name.rpartition(".")[2] in ("running_mean", "running_var")
            }
        has_teacher = model.teacher is not None and model.teacher.steps > 0
        ends = finished == runner.train_loop.max_iters
        if not has_teacher or ends or self._student_is_read(runner):
            self._take(runner, model, model.networks())
        if has_teacher:
            # A teacher is always in evaluation mode; this one call lets its layers take statistics.
            model.teacher.module.train()
            self._take(runner, model, model.teacher.module)
            model.teacher.eval()
        runner.message_hub.update_info(_CALIBRATED, finished)

    @staticmethod
    def _student_is_read(runner: Runner) -> bool:
        """Whether the student labels, is evaluated, or trains under its running statistics."""
        model = unwrapped(runner)
        labels = any(getattr(hook, "label_with", None) == "student" for hook in runner.hooks)
        return labels or not model.predict_with_teacher or model.bn_mode == "frozen"

    def _take(self, runner: Runner, model: UDASegmentor, networks: nn.ModuleDict) -> None:
        whole = target_batches(
            model,
            runner.train_dataloader.dataset.domains["target"],
            num_images=self.num_images,
            batch_size=self.batch_size,
            pipeline=self.pipeline,
        )
        take_statistics(networks, whole, weight=self.target_weight)
