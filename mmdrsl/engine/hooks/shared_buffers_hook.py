"""Evaluates one model on several ranks, not one for each."""

from __future__ import annotations

from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.models.batch_norm import share_buffers


@HOOKS.register_module()
class SharedBuffersHook(AdaptationHook):
    """Gives every rank the first one's buffers before an evaluation, so that its figures are those of the checkpoint.

    `SelfTrainingHook` does the same where a round begins. MMEngine's ``SyncBuffersHook`` averages them instead, at the
    end of epochs alone, and a run by iterations is one epoch.
    """

    acts_in_warmup = True

    priority = "VERY_HIGH"

    def before_val_epoch(self, runner: Runner) -> None:
        """Share the buffers."""
        share_buffers(runner.model)
