"""mIoU, IoU per class and pixel accuracy over several sets of classes at once, from one confusion matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmdrsl.atomic_files import replacing
from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.evaluation.confusion import SubsetScores, confusion_matrix, subset_scores


@METRICS.register_module()
class ClassIoUMetric(BaseMetric):
    """IoU and accuracy from one confusion matrix of all classes at the full size of the labels.

    Memory does not grow with the number of images: counts are added up image by image, and over ranks at the end. As
    in MMEngine, images are expected in the order of its `DefaultSampler` without shuffling, which repeats images where
    their number is no multiple of the number of ranks; the repeated ones are not counted.

    A class without ground truth and without predictions has no IoU: its entry is NaN, and means leave it out.

    Args:
        subsets: Names of label spaces to report beside the whole, where all their classes are among those predicted;
            figures of a subset of n classes end in n: ``mIoU16``. Predictions outside the subset on its ground truth
            count as misses.
        excluded_as_false_positives: Whether ground truth outside the classes in question counts as false positives of
            what is predicted on it. By default such pixels are left out, as is usual for SYNTHIA's 16 and 13 classes.
        prediction_space: Label space in which the model predicts, where it has fewer classes than the dataset's
            labels. Then all figures are over its classes. None: the dataset's classes.
        group_pattern: Regular expression with one group, matched against image file names; images with the same match
            (a sequence, a city) get metrics of their own. None makes no groups.
        output_dir: Folder that receives every prediction as a PNG of class ids, named as the image, or by ``sample_id``
            where the pipeline packs it, so that equal names in several sub-folders stay apart. None writes none.
        format_only: Only write predictions, for images without labels.
        keep_results: Accepted since MMSegmentation's own ``tools/test.py --out`` passes it; written files always stay.

    Raises:
        ValueError: The pattern has not exactly one group, an image's name does not match it, a label space is unknown,
            two subsets have the same number of classes, an image has no label, predictions and labels do not fit, or
            the predictions of two images would have one name.
    """

    def __init__(
        self,
        *,
        subsets: Sequence[str] = ("cityscapes19", "synthia16", "synthia13"),
        excluded_as_false_positives: bool = False,
        prediction_space: str | None = None,
        group_pattern: str | None = None,
        output_dir: str | None = None,
        format_only: bool = False,
        keep_results: bool = True,
    ) -> None:
        super().__init__()
        self.subsets = {len(get_label_space(name).classes): name for name in subsets}
        if len(self.subsets) != len(subsets):
            raise ValueError(
                f"subsets {list(subsets)} repeat a number of classes, which names the figures: keep one of each."
            )
        self.excluded_as_false_positives = excluded_as_false_positives
        self.prediction_space = (
            None if prediction_space is None else get_label_space(prediction_space)
        )
        self.group_pattern = re.compile(group_pattern) if group_pattern else None
        if self.group_pattern and self.group_pattern.groups != 1:
            raise ValueError(
                f"group_pattern needs exactly one group in brackets: {group_pattern!r}."
            )
        if format_only and output_dir is None:
            raise ValueError("format_only=True writes predictions only: give output_dir.")
        self.output_dir = output_dir
        self.format_only = format_only
        self._reset()

    def _reset(self) -> None:
        self._matrices: dict[str, torch.Tensor] = {}
        self._num_images = 0
        self._written: dict[str, str] = {}
        # The last image waits: whether the loader repeated it shows only in evaluate.
        self._last: tuple[str, torch.Tensor] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the labels, from the dataset."""
        return tuple((self.dataset_meta or {})["classes"])

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Not used.
            data_samples: Dictionaries with ``img_path``, ``pred_sem_seg`` and, unless only formatting,
                ``gt_sem_seg``, each with ``data`` of shape (1, H, W).
        """
        for sample in data_samples:
            predicted = sample["pred_sem_seg"]["data"].squeeze(0)
            if self.output_dir is not None:
                self._write(sample, predicted)
            if not self.format_only:
                self._count(sample, predicted)
        self._num_images += len(data_samples)

    def _count(self, sample: dict, predicted: torch.Tensor) -> None:
        """Add the waiting image to its group's counts and let this one wait."""
        if "gt_sem_seg" not in sample:
            raise ValueError(
                f"{sample.get('img_path')} has no label to compare with: test a labeled dataset with LoadLabels in its "
                "pipeline, or only write predictions with test_evaluator=dict(type='ClassIoUMetric', "
                "format_only=True, output_dir=DIR)."
            )
        label = sample["gt_sem_seg"]["data"].squeeze(0).to(predicted.device)
        try:
            matrix = confusion_matrix(label, self._in_dataset_classes(predicted), len(self.classes))
        except ValueError as error:
            raise ValueError(f"{sample.get('img_path')}: {error}.") from error
        self._add_last()
        self._last = self._group(sample), matrix

    def _add_last(self) -> None:
        if self._last is not None:
            group, matrix = self._last
            self._matrices[group] = self._matrices.get(group, 0) + matrix
            self._last = None

    def _in_dataset_classes(self, predicted: torch.Tensor) -> torch.Tensor:
        """Turn ids of the prediction space into ids of the dataset, by class name."""
        if self.prediction_space is None:
            return predicted
        names = self.prediction_space.classes
        strangers = sorted(set(names) - set(self.classes))
        if strangers:
            raise ValueError(
                f"prediction_space '{self.prediction_space.name}' has {strangers}, which are no classes of the "
                f"dataset: {list(self.classes)}"
            )
        if predicted.numel() and int(predicted.max()) >= len(names):
            raise ValueError(
                f"the prediction holds id {int(predicted.max())}, prediction_space '{self.prediction_space.name}' has "
                f"{len(names)} classes"
            )
        ids = [self.classes.index(name) for name in names]
        return torch.tensor(ids, device=predicted.device)[predicted.long()]

    def _write(self, sample: dict, predicted: torch.Tensor) -> None:
        image = sample["img_path"]
        name = sample.get("sample_id") or Path(image).stem
        # The loader may repeat an image.
        if self._written.setdefault(name, image) != image:
            raise ValueError(
                f"the predictions of {self._written[name]} and {image} would both be {name}.png in {self.output_dir}: "
                "add 'sample_id' to meta_keys of the test pipeline's PackSegInputs, which keeps sub-folders apart."
            )
        path = Path(str(self.output_dir), f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", predicted.cpu().numpy().astype(np.uint8))[1]
        with replacing(path) as temporary:
            temporary.write_bytes(encoded.tobytes())

    def check_names(self, images: Iterable[str]) -> None:
        """Refuse images that belong to no group, before any is evaluated.

        Args:
            images: Paths of the images.

        Raises:
            ValueError: The name of one does not match ``group_pattern``.
        """
        for image in images:
            self._group(dict(img_path=image))

    def _group(self, sample: dict) -> str:
        if self.group_pattern is None:
            return ""
        name = Path(sample["img_path"]).name
        match = self.group_pattern.search(name)
        if match is None:
            raise ValueError(
                f"The image name {name!r} does not match group_pattern {self.group_pattern.pattern!r}: correct the "
                "evaluator's group_pattern, or leave it out."
            )
        return match[1]

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all ranks and compute the metrics; starts afresh afterwards.

        Args:
            size: Number of images of the dataset.

        Returns:
            As `compute_metrics`, the same on every rank.
        """
        rank, world_size = get_dist_info()
        # Ranks take every world_size-th image; positions from size on are repetitions.
        if (self._num_images - 1) * world_size + rank >= size:
            self._last = None
        self._add_last()
        gathered = all_gather_object(self._matrices)
        self._reset()
        return self.compute_metrics(gathered)

    def compute_metrics(self, results: list[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """Compute all figures from the counts of every rank.

        Args:
            results: Per rank: confusion matrix, shape (C, C), by group.

        Returns:
            ``mIoU``, ``mAcc``, ``aAcc``, ``IoU.<class>``; for subsets of n classes ``mIoU<n>``, ``aAcc<n>`` and
            ``IoU<n>.<class>``, the latter only for real subsets; with groups ``<group>.mIoU`` and ``<group>.aAcc``;
            percent. Nothing when only formatting.
        """
        logger = MMLogger.get_current_instance()
        if self.format_only:
            if is_main_process():
                logger.info(f"Predictions are in {self.output_dir}.")
            return {}
        groups: dict[str, np.ndarray] = {}
        for matrices in results:
            for group, matrix in matrices.items():
                groups[group] = groups.get(group, 0) + matrix.numpy()
        if not groups:
            raise ValueError("No image was evaluated: the validation dataset is empty.")
        total = np.sum(list(groups.values()), axis=0)
        if not total.any():
            raise ValueError(
                "No pixel of the evaluated images has a label: test labeled images with LoadLabels in their pipeline, "
                "or only write predictions with format_only=True and output_dir."
            )
        scored = self.classes if self.prediction_space is None else self.prediction_space.classes
        whole = self._scores(total, scored)
        metrics = {
            "aAcc": _percent(whole.pixel_accuracy),
            "mIoU": _mean(whole.iou),
            "mAcc": _mean(whole.accuracy),
            **{
                f"IoU.{name}": _percent(value)
                for name, value in zip(scored, whole.iou, strict=True)
            },
        }
        columns = {
            "IoU": dict(zip(scored, whole.iou, strict=True)),
            "Acc": dict(zip(scored, whole.accuracy, strict=True)),
        }
        for number, space_name in sorted(self.subsets.items(), reverse=True):
            names = get_label_space(space_name).classes
            if not set(names) <= set(scored):
                continue
            scores = self._scores(total, names)
            metrics[f"mIoU{number}"] = _mean(scores.iou)
            metrics[f"aAcc{number}"] = _percent(scores.pixel_accuracy)
            if set(names) != set(scored):
                columns[f"IoU{number}"] = dict(zip(names, scores.iou, strict=True))
                metrics |= {
                    f"IoU{number}.{name}": _percent(value)
                    for name, value in columns[f"IoU{number}"].items()
                }
        if self.group_pattern is not None:
            for group, counts in sorted(groups.items()):
                scores = self._scores(counts, scored)
                metrics[f"{group}.mIoU"] = _mean(scores.iou)
                metrics[f"{group}.aAcc"] = _percent(scores.pixel_accuracy)
        if is_main_process():
            logger.info("per class results:\n" + _table(scored, columns))
        return metrics

    def _scores(self, matrix: np.ndarray, names: Sequence[str]) -> SubsetScores:
        return subset_scores(
            matrix,
            [self.classes.index(name) for name in names],
            excluded_as_false_positives=self.excluded_as_false_positives,
        )


def _percent(share: float) -> float:
    return round(100 * float(share), 2)


def _mean(shares: np.ndarray) -> float:
    """Mean in percent of the values that exist, NaN where none does."""
    existing = shares[~np.isnan(shares)]
    return _percent(existing.mean()) if existing.size else float("nan")


def _table(classes: Sequence[str], columns: Mapping[str, Mapping[str, float]]) -> str:
    """One row per class; a dash where a class does not take part or has no value."""
    table = PrettyTable(["Class", *columns])
    for name in classes:
        values = [_percent(column.get(name, float("nan"))) for column in columns.values()]
        table.add_row([name, *("-" if isnan(value) else f"{value:.2f}" for value in values)])
    return str(table.get_string())
