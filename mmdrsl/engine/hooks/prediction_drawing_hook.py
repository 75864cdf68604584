"""Draws predictions over images as they were read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmdrsl.datasets.transforms.loading import LoadImage


@HOOKS.register_module()
class PredictionDrawingHook(SegVisualizationHook):
    """MMSegmentation's hook, which turns photographs by their EXIF entry, on images as `LoadImage` reads them.

    Arguments are those of `SegVisualizationHook`.
    """

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw the first image of a batch, every ``interval`` batches."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._draw(outputs[0], "val", step)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw every image of a batch."""
        for sample in outputs if self.draw else ():
            self._test_index += 1
            self._draw(sample, "test", self._test_index)

    def _draw(self, sample: SegDataSample, part: str, step: int) -> None:
        image = LoadImage().transform({"img_path": sample.img_path})["img"]
        self._visualizer.add_datasample(
            f"{part}_{Path(sample.img_path).name}",
            image[..., ::-1],
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            step=step,
        )
