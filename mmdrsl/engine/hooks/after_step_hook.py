"""Lets the terms of an adaptation change their state between two steps."""

from __future__ import annotations

from typing import Any

from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.model_access import unwrapped


@HOOKS.register_module()
class AfterStepHook(AdaptationHook):
    """Calls ``after_step`` of every term of a `UDASegmentor` after each step, and logs what it returns.

    The term ``NAME`` gets the values that it returned in the step; what it gives back is logged as ``NAME.<value>``.
    """

    acts_in_warmup = True

    def before_train(self, runner: Runner) -> None:
        """Tell the model that its terms are called."""
        unwrapped(runner).calls_after_step = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Call the terms that have something to do between steps."""
        for name, term in getattr(unwrapped(runner), "terms", {}).items():
            if not term.changes_after_step:
                continue
            own = {
                key.removeprefix(f"{name}."): value
                for key, value in (outputs or {}).items()
                if key.startswith(f"{name}.")
            }
            for key, value in term.after_step(own).items():
                runner.message_hub.update_scalar(f"train/{name}.{key}", value)
