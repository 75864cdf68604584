"""A log that a person can read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook
from mmdrsl.engine.log_filter import filter_log

FIRST_STEPS = (1, 2, 5, 10, 20)


@HOOKS.register_module()
class ReadableLogHook(AdaptationHook):
    """Logs losses and time left in the first steps, too, and the optimizer's groups in one line.

    Without it the first losses come after the whole interval of `LoggerHook`, and MMEngine writes several lines for
    every parameter. Those and a list of hooks are left out, see `FloodFilter`.
    """

    acts_in_warmup = True
    changes_segmentor = False
    only_observes = True

    # After IterTimerHook, which estimates the time left.
    priority = "BELOW_NORMAL"

    def __init__(self) -> None:
        # The Runner has its logger and builds no optimizer yet.
        filter_log()
        self._begin = 0

    def before_train(self, runner: Runner) -> None:
        """Note where the process begins, and say what the optimizer does."""
        self._begin = runner.iter
        optimizer = getattr(runner.optim_wrapper, "optimizer", None)
        if optimizer is None:
            return
        groups: Counter[str] = Counter()
        for group in optimizer.param_groups:
            rate = group.get("initial_lr", group["lr"])
            text = f"lr {rate:.4g}, weight decay {group.get('weight_decay', 0):.4g}"
            groups[text] += len(group["params"])
        parts = "; ".join(f"{count} with {text}" for text, count in groups.items())
        runner.logger.info(f"{type(optimizer).__name__}, tensors of weights: {parts}.")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log the first steps of the process that `LoggerHook` leaves out."""
        if runner.iter + 1 - self._begin not in FIRST_STEPS:
            return
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        if (
            not loggers
            or self.every_n_inner_iters(batch_idx, loggers[0].interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            return
        tag, text = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
        runner.logger.info(text)
        runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=loggers[0].json_log_path)
