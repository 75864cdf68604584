"""Measures what a run costs, over interruptions."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.atomic_files import write_atomically
from mmdrsl.engine.adaptation_hook import AdaptationHook

COST_FILE = "cost.json"
SECONDS_KEY = "run_cost_seconds"
WARMUP_KEY = "run_cost_warmup_seconds"
MEMORY_KEY = "run_cost_peak_memory_mb"


@HOOKS.register_module()
class RunCostHook(AdaptationHook):
    """Writes ``<work_dir>/cost.json`` at the end: ``seconds``, ``warmup_seconds``, ``peak_memory_mb``.

    The figures so far are in every checkpoint, so a run that was killed and resumed ends with those of one that was
    not: steps that are done again count once, the start of the process not at all. Seconds are wall-clock
    time of training and labeling. Memory is the most that was allocated on the GPU, or without one the largest
    resident set of the training process, loaders apart.

    Args:
        warmup_iterations: Steps after which `warmup_seconds` is taken, before the first labeling.
    """

    acts_in_warmup = True

    # Before the labeling and the checkpoint that follow the same step.
    priority = "HIGH"

    def __init__(self, *, warmup_iterations: int) -> None:
        self.warmup_iterations = warmup_iterations
        self._begin = 0.0
        self._before = 0.0
        self._warmup: float | None = None
        self._memory = 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the clock at what a resumed checkpoint has counted."""
        known = runner.message_hub.runtime_info
        self._before = float(known.get(SECONDS_KEY, 0.0))
        self._warmup = known.get(WARMUP_KEY)
        self._memory = float(known.get(MEMORY_KEY, 0.0))
        self._begin = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep the figures where checkpoints find them, and write them after the last step."""
        finished = runner.iter + 1
        seconds = self._before + time.monotonic() - self._begin
        self._memory = max(self._memory, peak_memory_mb())
        if finished == self.warmup_iterations:
            self._warmup = seconds
        runner.message_hub.update_info(SECONDS_KEY, seconds)
        runner.message_hub.update_info(MEMORY_KEY, self._memory)
        if self._warmup is not None:
            runner.message_hub.update_info(WARMUP_KEY, self._warmup)
        if finished == runner.train_loop.max_iters and is_main_process():
            content = dict(
                seconds=seconds, warmup_seconds=self._warmup, peak_memory_mb=self._memory
            )
            write_atomically(Path(runner.work_dir) / COST_FILE, json.dumps(content, indent=1))


def peak_memory_mb() -> float:
    """Most memory so far, in MiB: allocated on the GPU, or without one the process's largest resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
