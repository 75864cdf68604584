"""What a translation did to a labeled data set: to a segmentor's scores, to the content, to colors and spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch

from mmdrsl.datasets.label_spaces import IGNORE_INDEX
from mmdrsl.evaluation.confusion import confusion_matrix, subset_scores
from mmdrsl.translation.functional import Picture

NUM_BANDS = 16
"""Bands of spatial frequency between 0 and half a cycle per pixel."""

Labels = np.ndarray
"""Class ids, (H, W), 255 where ignored."""


@dataclass
class LowLevelStatistics:
    """Running color and spectrum statistics of a set of images.

    Attributes:
        num_images: Images seen.
        mean: Sum over the images of the mean red, green, blue, 0..255, (3,).
        deviation: Sum over the images of the standard deviation of red, green, blue, (3,).
        spectrum: Sum over the images of the decadic logarithm of the mean power of the luminance in each band of
            frequency, (NUM_BANDS,).
    """

    num_images: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(3))
    deviation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    spectrum: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BANDS))

    def add(self, image: Picture) -> None:
        """Add an image.

        Args:
            image: Blue, green, red of 8 bits, (H, W, 3).
        """
        self.num_images += 1
        self.mean += image[..., ::-1].mean(axis=(0, 1))
        self.deviation += image[..., ::-1].std(axis=(0, 1))
        self.spectrum += luminance_spectrum(image)

    def summary(self) -> dict[str, Any]:
        """Means over the images, in JSON types."""
        return {
            "num_images": self.num_images,
            **{
                name: (getattr(self, name) / max(self.num_images, 1)).tolist()
                for name in ("mean", "deviation", "spectrum")
            },
        }


def luminance_spectrum(image: Picture) -> np.ndarray:
    """Mean power of an image's luminance by spatial frequency.

    Args:
        image: Blue, green, red of 8 bits, (H, W, 3).

    Returns:
        Decadic logarithm of the mean power per pixel in `NUM_BANDS` equal bands of the frequency's absolute value, from
        0 (without the mean itself) to half a cycle per pixel; (NUM_BANDS,).
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float64)
    power = np.abs(np.fft.fft2(gray)) ** 2 / gray.size
    frequency = np.hypot(np.fft.fftfreq(gray.shape[0])[:, None], np.fft.fftfreq(gray.shape[1]))
    band = np.minimum((frequency * 2 * NUM_BANDS).astype(int), NUM_BANDS)
    band[0, 0] = NUM_BANDS
    total = np.bincount(band.ravel(), power.ravel(), NUM_BANDS + 1)[:NUM_BANDS]
    count = np.bincount(band.ravel(), minlength=NUM_BANDS + 1)[:NUM_BANDS]
    return np.log10(total / np.maximum(count, 1) + 1e-8)


def distance_to(summary: dict[str, Any], target: dict[str, Any]) -> dict[str, float]:
    """Mean absolute difference of each statistic of `LowLevelStatistics.summary`.

    Args:
        summary: Statistics of a set.
        target: Statistics of the set to compare with.

    Returns:
        By statistic: ``mean`` and ``deviation`` in gray levels, ``spectrum`` in decades.
    """
    return {
        name: float(np.abs(np.subtract(summary[name], target[name])).mean())
        for name in ("mean", "deviation", "spectrum")
    }


@dataclass(frozen=True)
class AuditedImage:
    """What the audit needs of one image.

    Attributes:
        sample_id: Its name.
        original: Blue, green, red of 8 bits, (H, W, 3).
        translation: The same, translated.
        labels: Its label.
    """

    sample_id: str
    original: Picture
    translation: Picture
    labels: Labels


def audit_translation(
    images: Iterable[AuditedImage],
    *,
    predict: Callable[[Picture], Labels],
    classes: Sequence[str],
    targets: Iterable[Picture] = (),
) -> dict[str, Any]:
    """Compare a labeled set with its translation.

    Args:
        images: The images with their translations.
        predict: Class ids (H, W) of an image, by the segmentor that judges.
        classes: Class names.
        targets: Images of the target for the low-level statistics.

    Returns:
        In JSON types: ``original`` and ``translated`` (``mIoU``, ``pixel_accuracy`` and ``IoU`` by class, in percent;
        None for classes that do not occur), ``agreement`` (share of pixels with the same prediction before and after,
        in percent), ``images`` (name and agreement, most changed first), ``statistics`` of the three sets, and
        ``distance_to_target`` before and after.
    """
    num_classes = len(classes)
    kinds = ("original", "translated")
    matrices = {kind: np.zeros((num_classes, num_classes), np.int64) for kind in kinds}
    statistics = {kind: LowLevelStatistics() for kind in (*kinds, "target")}
    agreements: dict[str, float] = {}
    same = pixels = 0
    for image in images:
        predicted = {}
        for kind, picture in zip(kinds, (image.original, image.translation), strict=True):
            statistics[kind].add(picture)
            predicted[kind] = np.asarray(predict(picture))
            matrices[kind] += confusion_matrix(
                torch.from_numpy(image.labels), torch.from_numpy(predicted[kind]), num_classes
            ).numpy()
        equal = predicted["original"] == predicted["translated"]
        agreements[image.sample_id] = 100 * float(equal.mean())
        same, pixels = same + int(equal.sum()), pixels + equal.size
    for picture in targets:
        statistics["target"].add(picture)
    summaries = {kind: entry.summary() for kind, entry in statistics.items()}
    report: dict[str, Any] = {kind: _scores(matrices[kind], classes) for kind in kinds}
    report["agreement"] = 100 * same / max(pixels, 1)
    report["images"] = [
        {"sample_id": name, "agreement": agreements[name]}
        for name in sorted(agreements, key=lambda name: (agreements[name], name))
    ]
    report["statistics"] = summaries
    if statistics["target"].num_images:
        report["distance_to_target"] = {
            kind: distance_to(summaries[kind], summaries["target"]) for kind in kinds
        }
    return report


def _scores(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    scores = subset_scores(matrix, range(len(classes)))
    present = scores.iou[~np.isnan(scores.iou)]
    return {
        "mIoU": 100 * float(present.mean()) if present.size else None,
        "pixel_accuracy": 100 * scores.pixel_accuracy,
        "IoU": {
            name: None if np.isnan(value) else 100 * float(value)
            for name, value in zip(classes, scores.iou, strict=True)
        },
    }


def changed_pixels(before: Labels, after: Labels) -> Labels:
    """Predictions after a translation where they differ from those before, ignored elsewhere.

    Args:
        before: Class ids, (H, W).
        after: Class ids, (H, W).

    Returns:
        Class ids, (H, W), 255 where nothing changed.
    """
    return np.where(before == after, IGNORE_INDEX, after).astype(np.uint8)
