"""Draws what a translator makes of its training images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmdrsl.engine.model_access import unwrapped


@HOOKS.register_module()
class SampleSheetHook(Hook):
    """Adds a sheet to the run's visualizer every `interval` steps.

    Two rows of three pictures, from the batch of that step: source, its translation, and back; target, its
    translation, and back.

    Args:
        interval: Steps between sheets, >= 1.

    Raises:
        ValueError: `interval` is below 1.
    """

    priority = "LOW"

    def __init__(self, *, interval: int = 500) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1, found {interval}.")
        self.interval = interval

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw where the interval is over.

        Args:
            runner: The training run of a `CyCADA`.
            batch_idx: Number of the batch.
            data_batch: The batch.
            outputs: Logged values.
        """
        if not self.every_n_train_iters(runner, self.interval):
            return
        model = unwrapped(runner)
        inputs = model.data_preprocessor(data_batch, True)["inputs"]
        rows = []
        for domain, other in (("source", "target"), ("target", "source")):
            real = inputs[f"img_{domain}"][:1]
            fake = model.translation(real, target_domain=other)
            rows.append(torch.cat([real, fake, model.translation(fake, target_domain=domain)], -1))
        runner.visualizer.add_image("translation", _picture(torch.cat(rows, -2)), runner.iter + 1)


def _picture(images: Tensor) -> np.ndarray:
    """Red, green, blue in 0..255, (H, W, 3), of images (1, 3, H, W) in [-1, 1]."""
    scaled = ((images[0].float() + 1) * 127.5).round().clamp(0, 255).byte()
    return scaled.permute(1, 2, 0).cpu().numpy()
