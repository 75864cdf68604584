"""Compares the class names of everything that a run reads."""

from __future__ import annotations

from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.run_checkpoint import check_evaluation_labels, check_run_classes


@HOOKS.register_module()
class ClassNamesHook(AdaptationHook):
    """Refuses a run whose training, validation or test data number their classes otherwise, before its first step.

    The model's ``label_space`` and number of classes are compared, too. Where a metric has a ``prediction_space``, that
    is compared instead of the classes of its data. Of MMSegmentation's own datasets a few labels are read: ids beyond
    the classes are no train ids, and MMSegmentation's metric would pass over them.
    """

    acts_in_warmup = False
    changes_segmentor = False

    # Before hooks that label or evaluate.
    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Compare what a training reads.

        Raises:
            ValueError: Two of them have other classes, or labels of the validation are no train ids.
        """
        check_run_classes(runner)
        check_evaluation_labels(runner)

    def before_val(self, runner: Runner) -> None:
        """Compare what a validation reads."""
        check_run_classes(runner)

    def before_test(self, runner: Runner) -> None:
        """Compare what a test reads, and look at a few of its labels."""
        check_run_classes(runner)
        check_evaluation_labels(runner)
