"""Stops a run whose numbers are lost, before it overwrites what was good."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.finite_values import non_finite_names

SKIPPED_KEY = "skipped_steps"


@HOOKS.register_module()
class FiniteValuesHook(AdaptationHook):
    """Ends a run at the step whose loss is NaN or Inf, and writes no checkpoint whose weights are.

    The loss is read where MMEngine has logged it, so that the device is not waited for once more. A gradient scaler
    (``AmpOptimWrapper``) skips steps whose gradients are not finite, and lowers its scale: these are logged and
    counted, and too many in a row end the run in the same way. Earlier checkpoints stay.

    Args:
        max_skipped_steps: Steps that a gradient scaler may skip one after the other, >= 1.

    Raises:
        ValueError: `max_skipped_steps` is below 1.
    """

    acts_in_warmup = True
    changes_segmentor = False
    only_observes = True

    # After RuntimeInfoHook (VERY_HIGH), which logs the losses, and before whatever uses the weights.
    priority = 15

    def __init__(self, *, max_skipped_steps: int = 20) -> None:
        if max_skipped_steps < 1:
            raise ValueError(
                f"FiniteValuesHook.max_skipped_steps must be >= 1, found {max_skipped_steps}."
            )
        self.max_skipped_steps = max_skipped_steps
        self._stepped = True
        self._in_a_row = 0

    def before_train(self, runner: Runner) -> None:
        """Listen to the optimizer where a scaler decides whether it steps."""
        if _scaler_of(runner) is not None:
            runner.optim_wrapper.optimizer.register_step_post_hook(self._note_step)

    def _note_step(self, optimizer: Any, *_: Any) -> None:
        # A fused optimizer is always called, and told whether to leave the weights alone.
        found = getattr(optimizer, "found_inf", None)
        self._stepped = found is None or not bool(found)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Forget the step before."""
        self._stepped = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the losses of the step, and whether the scaler skipped it.

        Raises:
            FloatingPointError: A loss is not finite, or too many steps in a row were skipped.
        """
        lost = _lost_losses(runner, outputs or {})
        if lost:
            parts = ", ".join(f"{name} is {value}" for name, value in lost.items())
            raise FloatingPointError(
                f"Training stopped at step {runner.iter + 1}: {parts}. {_last_good(runner)} A lower learning rate, a "
                "smaller weight of the term named or optim_wrapper.clip_grad help where a loss grew without bound."
            )
        if _scaler_of(runner) is not None and runner.optim_wrapper.should_update():
            self._count(runner)

    def _count(self, runner: Runner) -> None:
        """Count a step that the scaler skipped."""
        if self._stepped:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        total = runner.message_hub.get_info(SKIPPED_KEY, 0) + 1
        runner.message_hub.update_info(SKIPPED_KEY, total)
        runner.logger.warning(
            f"Step {runner.iter + 1} was skipped: its gradients are not finite ({self._in_a_row} in a row, {total} in "
            f"all; the scale is now {_scaler_of(runner).get_scale():g})."
        )
        if self._in_a_row >= self.max_skipped_steps:
            raise FloatingPointError(
                f"Training stopped at step {runner.iter + 1}: the gradients of {self._in_a_row} steps in a row were "
                f"not finite, and the scaler skipped them. {_last_good(runner)} Try optim_wrapper.dtype='bfloat16', "
                "full precision, or a lower learning rate."
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to write weights that are no numbers.

        Raises:
            FloatingPointError: A weight or buffer is not finite.
        """
        names = non_finite_names(checkpoint["state_dict"])
        if names:
            raise FloatingPointError(
                f"No checkpoint is written at step {runner.iter + 1}: {len(names)} weights and buffers of the model "
                f"hold NaN or Inf, such as {names[0]}. {_last_good(runner)}"
            )


def _scaler_of(runner: Runner) -> Any:
    return getattr(runner.optim_wrapper, "loss_scaler", None)


def _lost_losses(runner: Runner, outputs: Mapping[str, Any]) -> dict[str, float]:
    """Losses of a step that are not finite, by name; the sum alone where none of its parts is."""
    logged = runner.message_hub.log_scalars

    def value_of(name: str) -> float:
        buffer = logged.get(f"train/{name}")
        return float(outputs[name] if buffer is None else buffer.current())

    names = [name for name in outputs if "loss" in name]
    # The sum is finite only where all parts are.
    if "loss" in names and isfinite(value_of("loss")):
        return {}
    lost = {name: value for name in names if not isfinite(value := value_of(name))}
    if len(lost) > 1:
        lost.pop("loss", None)
    return lost


def _last_good(runner: Runner) -> str:
    """Say which checkpoint there is to go on from."""
    note = Path(runner.work_dir) / "last_checkpoint"
    if not note.is_file():
        return "There is no checkpoint of an earlier step."
    return f"The last good checkpoint is {note.read_text().strip()}."
