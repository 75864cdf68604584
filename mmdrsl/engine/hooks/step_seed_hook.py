"""Makes every training step's randomness a function of seed, rank and iteration."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmdrsl.engine.adaptation_hook import AdaptationHook


@HOOKS.register_module()
class StepSeedHook(AdaptationHook):
    """Seeds Python, NumPy and torch before each step.

    A resumed run then draws the same dropout masks, modes and pixel pairs as an uninterrupted one; MMEngine's
    checkpoints hold no random state, and this needs none.
    """

    acts_in_warmup = True

    priority = "HIGHEST"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the step."""
        sequence = np.random.SeedSequence([runner.seed, get_rank(), runner.iter])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
