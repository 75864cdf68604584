"""Keeps a teacher: an average of the trained network over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.models.batch_norm import has_batch_norm
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor
from mmdrsl.models.teacher_prediction import TeacherPrediction

# The weight of the newest network at step t is max(0.001, 1 / (t + 1)): a plain mean at first (Tarvainen and Valpola
# 2017), so that the teacher does not remember the untrained network.
AVERAGE = dict(type="MomentumAnnealingEMA", momentum=0.001, gamma=1, update_buffers=True)


@HOOKS.register_module()
class MeanTeacherHook(AdaptationHook):
    """Adds a teacher to a `UDASegmentor` and updates it after every step.

    The teacher is one of MMEngine's averaged models over segmentor and heads, and a part of the model: checkpoints hold
    its weights and its step count, so a resumed run continues it exactly. `SelfTrainingHook(label_with='teacher')`
    labels with it, consistency terms read it, and inference never needs it.

    Args:
        average: Config of MMEngine's averaged model. ``momentum`` there is the weight of the newest network (a small
            number); ``update_buffers=True`` averages batch statistics too, False copies them from the student.
        begin: Step after which the teacher starts as a copy of the student; until then it is the student.
        statistics: Statistics of batch normalization with which the teacher labels the images of a batch: ``running``,
            or ``batch`` for those of these images, as DACS and its successors do, which are used and not kept; layers
            that are frozen in the student stay so. Labels at the beginning of a round are made under running
            statistics, as every prediction.
        flip: The teacher labels a batch by the mean of it and its mirror image.
        scales: Scales of the batch's images over which it takes the mean, each > 0. Labels of rounds have their own
            views, ``SelfTrainingHook(labeler=dict(flip=..., scales=...))``.
        undo_class_weights: The teacher's probabilities are divided by the class weights of its head's training.
        evaluate: Evaluate the teacher instead of the student, in training and in testing.
    """

    acts_in_warmup = False

    # After hooks that move weights between steps (NORMAL).
    priority = "BELOW_NORMAL"

    def __init__(
        self,
        *,
        average: dict | None = None,
        begin: int = 0,
        statistics: str = "running",
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        undo_class_weights: bool = False,
        evaluate: bool = False,
    ) -> None:
        self.prediction = TeacherPrediction(
            statistics=statistics,
            flip=flip,
            scales=tuple(scales),
            undo_class_weights=undo_class_weights,
        )
        self.average = dict(average or AVERAGE)
        self.begin = begin
        self.evaluate = evaluate

    @classmethod
    def allows_shared_warmup(cls, cfg: Mapping[str, Any], steps: int) -> bool:
        """Whether the teacher begins where the warm-up ends, or later."""
        return cfg.get("begin", 0) >= steps

    def before_run(self, runner: Runner) -> None:
        """Add the teacher before a checkpoint is loaded, and after the optimizer collected its parameters.

        Raises:
            TypeError: The model is not a `UDASegmentor`.
        """
        model = unwrapped(runner)
        model = model.module if isinstance(model, BaseTTAModel) else model
        if not isinstance(model, UDASegmentor):
            raise TypeError(
                f"MeanTeacherHook needs a model of type UDASegmentor, found {type(model).__name__}."
            )
        if model.teacher is None:
            model.add_teacher(self.average)
        model.predict_with_teacher = self.evaluate
        model.teacher_prediction = self.prediction
        if self.prediction.statistics == "batch" and not has_batch_norm(model.segmentor):
            runner.logger.warning(
                "MeanTeacherHook has statistics='batch', which changes nothing: the segmentor has no batch "
                "normalization."
            )
        model.teacher_begin = self.begin

    def before_train(self, runner: Runner) -> None:
        """Say where a resumed checkpoint brought no teacher; begin one where that is its first step."""
        model = unwrapped(runner)
        if runner.iter < self.begin or runner.iter == 0:
            # Weights that the run begins with may bring the teacher of another run.
            model.teacher.steps.zero_()
        # A first round without a warm-up reads the teacher before the first step ends.
        read_at_once = bool(model.phases) and model.phases[0].number > 0
        if (
            runner.iter == self.begin
            and (self.begin > 0 or read_at_once)
            and not model.teacher.steps
        ):
            # The warm-up is that of a run without a teacher: the copy that it would have ended with.
            model.teacher.update_parameters(model.networks())
        if runner.iter > self.begin and model.teacher.steps == 0:
            runner.logger.warning(
                "The checkpoint holds no teacher that was updated; it starts as a copy of the student."
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average the student's new weights in; the first time, copy them."""
        if runner.iter + 1 >= self.begin:
            model = unwrapped(runner)
            model.teacher.update_parameters(model.networks())
