"""IoU per class, and per sequence, among the returned metrics; not only in a printed table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """MMSegmentation's `IoUMetric` that also returns the IoU of every class, and mIoU per group of images.

    A class that occurs neither in the labels nor in the predictions has no IoU: its entry is NaN, and mIoU leaves it
    out.

    Args:
        group_pattern: Regular expression with one group, matched against image file names; images with the same match
            (a sequence, a city) get metrics of their own. None makes no groups.
        options: Arguments of `IoUMetric`.

    Raises:
        ValueError: The pattern has not exactly one group, or an image's name does not match it.
    """

    def __init__(self, *, group_pattern: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.group_pattern = re.compile(group_pattern) if group_pattern else None
        if self.group_pattern and self.group_pattern.groups != 1:
            raise ValueError(
                f"group_pattern needs exactly one group in brackets: {group_pattern!r}."
            )

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch, and note each image's group."""
        first = len(self.results)
        super().process(data_batch, data_samples)
        self.results[first:] = [
            (areas, self._group(sample))
            for areas, sample in zip(self.results[first:], data_samples, strict=False)
        ]

    def _group(self, sample: dict) -> str:
        if self.group_pattern is None:
            return ""
        name = Path(sample["img_path"]).name
        match = self.group_pattern.search(name)
        if match is None:
            raise ValueError(
                f"The image name {name!r} does not match group_pattern {self.group_pattern.pattern!r}."
            )
        return match[1]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the parent's metrics, the IoU of each class, and both per group.

        Args:
            results: One ((intersection, union, predicted, labelled), group) per image; counts are per class.

        Returns:
            ``aAcc``, ``mIoU``, ``mAcc``, ``IoU.<class>``, and with groups ``<group>.mIoU`` and ``<group>.aAcc``;
            percent.
        """
        metrics = super().compute_metrics([areas for areas, _ in results])
        if self.format_only:
            return metrics
        groups: dict[str, list] = defaultdict(list)
        for areas, group in results:
            groups[group].append(areas)
        classes = self.dataset_meta["classes"]
        total = self._class_iou([areas for areas, _ in results])
        metrics.update(
            {
                f"IoU.{name}": round(float(value), 2)
                for name, value in zip(classes, total, strict=True)
            }
        )
        if self.group_pattern is not None:
            for group, areas in sorted(groups.items()):
                metrics[f"{group}.mIoU"] = round(float(np.nanmean(self._class_iou(areas))), 2)
                correct, labelled = sum(a[0].sum() for a in areas), sum(a[3].sum() for a in areas)
                metrics[f"{group}.aAcc"] = round(100 * float(correct / labelled), 2)
        return metrics

    @staticmethod
    def _class_iou(areas: list) -> np.ndarray:
        """IoU per class in percent, NaN where a class does not occur."""
        intersection = sum(area[0] for area in areas).numpy()
        union = sum(area[1] for area in areas).numpy()
        return 100 * np.divide(
            intersection, union, out=np.full_like(intersection, np.nan), where=union > 0
        )
