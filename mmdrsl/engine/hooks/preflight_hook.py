"""Lets a run show before its first step what would fail after its warm-up."""

from __future__ import annotations

from mmengine.runner import Runner
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.engine.preflight import run_preflight


@HOOKS.register_module()
class PreflightHook(AdaptationHook):
    """Tries every kind of step of a run once on a copy of its model, in the time of a few steps.

    What it tries: see `run_preflight`. The run that follows is, bit for bit, the run without it. Models other than
    segmentors, such as translators, are left alone.

    Args:
        enabled: False leaves the checks out.
    """

    acts_in_warmup = True
    changes_segmentor = False
    only_observes = True

    # After the checks and preparations of other hooks, before SelfTrainingHook (LOWEST) begins to label.
    priority = 95

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_train(self, runner: Runner) -> None:
        """Try the run.

        Raises:
            ValueError: It cannot work; OSError and TypeError as `run_preflight`.
        """
        left = runner.iter < runner.max_iters
        if self.enabled and left and isinstance(unwrapped(runner), BaseSegmentor):
            run_preflight(runner)
