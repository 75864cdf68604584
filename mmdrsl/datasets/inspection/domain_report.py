"""Adds the reports of all files of a domain up, and compares the domains."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from tqdm import tqdm

from mmdrsl.datasets.inspection.config_domains import datasets_of
from mmdrsl.datasets.inspection.file_check import FileReport, check_file
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.left_out import left_out, left_out_message, suffixes_of
from mmdrsl.datasets.unlabeled import UnlabelledDataset
from mmdrsl.datasets.validation import files_below
from mmdrsl.mmengine_private import of_subset

REMEDIES = {
    "unusable dataset": "correct the entry that the message names",
    "unreadable image": "restore the files, or leave them out with ann_file",
    "unreadable label": "restore the files in their published format",
    "image without label": "restore the labels, correct seg_map_suffix, or list the labeled images in ann_file",
    "label without image": "restore the images, or remove the labels; training never reads these",
    "turned image": "turn the pixels, or remove the tag, whichever fits the label",
    "label of another size": "pair the right files; a resized label must be made from its own image's size",
    "unknown ids": "check that the dataset type fits the files; else add the ids to its label table",
    "several kinds of labels": "save all labels in the published format; one kind is usually a mistake",
    "copy in training": "take the images out of one of the two, or the evaluation measures memory",
    "repeated image": "remove the copies, or list each image once",
    "other classes": "give all datasets of the config the same label_space",
}
"""What to do, by kind of problem."""


@dataclass
class DomainReport:
    """What a domain's files hold.

    Attributes:
        datasets: Class name and image folder of each dataset.
        classes: Class names, in the order of the train ids.
        palette: One RGB color (0..255) per class.
        labeled: Whether there are labels.
        images: Number of images.
        pixels: Pixels per class and, last, ignored, shape (C + 1,).
        images_with: Images that have each class, shape (C + 1,).
        problems: (kind, message) in the order found.
        remarks: What is no mistake but worth knowing.
        orientations: Images by EXIF orientation.
        sizes: Images by width and height.
        image_kinds: Images by how they are stored.
        label_kinds: Labels by how they are stored.
        mean: Mean red, green, blue over images, NaN without a readable image.
        spread: Standard deviation of the images' means.
        histogram: Share of pixels by brightness in 32 steps.
    """

    datasets: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    palette: Sequence[Sequence[int]] = ()
    labeled: bool = False
    images: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    problems: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    orientations: Counter[int] = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    image_kinds: Counter = field(default_factory=Counter)
    label_kinds: Counter = field(default_factory=Counter)
    mean: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    spread: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(32))

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON: ``images``, ``pixels`` by class name and ``ignore``, ``problems``, ``remarks``.

        Without labels there are no ``pixels``.
        """
        pixels = dict(zip((*self.classes, "ignore"), self.pixels.tolist(), strict=True))
        return {
            "images": self.images,
            "pixels": pixels if self.labeled else {},
            "problems": [f"{kind}: {message}" for kind, message in self.problems],
            "remarks": self.remarks,
        }


def inspect_config(
    cfg: Config, *, num_workers: int | None = None, progress: bool = True
) -> dict[str, DomainReport]:
    """Read every file of a config's datasets.

    Args:
        cfg: As for `datasets_of`.
        num_workers: Threads; None takes one per core.
        progress: Whether to draw a progress bar on standard error.

    Returns:
        Report by domain; labels of the unlabeled target are never opened.

    Raises:
        ValueError: As `datasets_of`.
    """
    reports: dict[str, DomainReport] = {}
    digests: dict[str, dict[bytes, str]] = {}
    for name, datasets in datasets_of(cfg).items():
        report = DomainReport()
        reports[name] = report
        digests[name] = {}
        means: list[np.ndarray] = []
        for dataset in datasets:
            _inspect_dataset(dataset, report, digests[name], means, name, num_workers, progress)
        if means:
            report.mean, report.spread = np.mean(means, axis=0), np.std(means, axis=0)
            report.histogram /= report.histogram.sum()
        turned = {tag: count for tag, count in sorted(report.orientations.items()) if tag != 1}
        if turned and not report.labeled:
            listed = ", ".join(f"{tag} ({count} images)" for tag, count in turned.items())
            report.remarks.append(
                f"Images have the EXIF orientations {listed}: they are turned upright when they are loaded."
            )
    _compare(reports, digests)
    return reports


def _inspect_dataset(
    dataset: BaseSegDataset,
    report: DomainReport,
    digests: dict[bytes, str],
    means: list[np.ndarray],
    name: str,
    num_workers: int | None,
    progress: bool,
) -> None:
    """Add one dataset to its domain's report."""
    classes = tuple(dataset.metainfo["classes"])
    folder = str(dataset.data_prefix.get("img_path"))
    report.datasets.append(f"{type(dataset).__name__} in {folder}")
    if report.classes and report.classes != classes:
        report.problems.append(
            ("other classes", f"{report.datasets[-1]} has the classes {list(classes)}")
        )
        return
    if not report.classes:
        report.classes, report.palette = classes, dataset.metainfo["palette"]
        report.pixels = np.zeros(len(classes) + 1, np.int64)
        report.images_with = np.zeros(len(classes) + 1, np.int64)
    report.labeled |= not isinstance(dataset, UnlabelledDataset)
    try:
        infos = list_files(dataset)
    except (OSError, ValueError, AssertionError) as error:
        report.problems.append(("unusable dataset", str(error)))
        return
    report.problems += [("label without image", path) for path in orphan_labels(dataset)]
    others = left_out(dataset)
    if others:
        report.remarks.append(f"{left_out_message(folder, others, suffixes_of(dataset))}.")
    with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        found = pool.map(lambda info: check_file(info, len(classes)), infos)
        bar = tqdm(found, desc=name, total=len(infos), disable=not progress, unit="image")
        kinds = _add_files(bar, report, digests, means)
    # Sets side by side may be stored differently.
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
        report.problems.append(
            ("several kinds of labels", f"labels of {folder} are stored as {listed}")
        )
    report.label_kinds += kinds


def list_files(dataset: BaseSegDataset) -> list[dict[str, Any]]:
    """List a dataset's samples as they are, with missing labels.

    Args:
        dataset: A dataset of MMSegmentation or mmdrsl, lazily initialized or not.

    Returns:
        Per sample what `check_file` needs.

    Raises:
        OSError, ValueError, AssertionError: The files cannot be listed; the dataset's own error.
    """
    infos: list[dict[str, Any]]
    if isinstance(dataset, LabelledImageDataset):
        _, images, labels = dataset.pair_files()
        infos = [
            {"img_path": image, "seg_map_path": label, **dataset.label_format}
            for image, label in zip(images, labels, strict=True)
        ]
    elif isinstance(dataset, UnlabelledDataset):
        folder, names = dataset.find_files()
        infos = [{"img_path": os.path.join(folder, name)} for name in names]
    else:
        infos = dataset.load_data_list()
        if not infos:
            raise ValueError(
                f"no image ending in {dataset.img_suffix!r} in {dataset.data_prefix.get('img_path')}"
            )
    return of_subset(dataset, infos)


def orphan_labels(dataset: BaseSegDataset) -> list[str]:
    """Find label files whose image does not exist, listed in the split or not.

    Args:
        dataset: The dataset.

    Returns:
        Paths of the labels, sorted.
    """
    image_dir, label_dir = (dataset.data_prefix.get(key) for key in ("img_path", "seg_map_path"))
    if not label_dir or not Path(label_dir).is_dir():
        return []
    # Endings of images count whether in upper or lower case.
    images = {name.lower() for name in files_below(image_dir)}
    orphans = []
    for label in files_below(label_dir):
        if isinstance(dataset, LabelledImageDataset):
            image = dataset.image_name(label)
        else:
            suffix = dataset.seg_map_suffix
            image = label[: -len(suffix)] + dataset.img_suffix if label.endswith(suffix) else None
        if image is not None and image.lower() not in images:
            orphans.append(os.path.join(label_dir, label))
    return sorted(orphans)


def _add_files(
    files: Iterable[FileReport],
    report: DomainReport,
    digests: dict[bytes, str],
    means: list[np.ndarray],
) -> Counter:
    """Add files to their domain's report, and the means of their images; return the labels by how they are stored."""
    kinds: Counter = Counter()
    for file in files:
        report.images += 1
        report.problems += file.problems
        if file.size is not None and file.mean is not None and file.histogram is not None:
            report.sizes[file.size] += 1
            report.orientations[file.orientation] += 1
            report.image_kinds[file.kinds[0]] += 1
            means.append(file.mean)
            report.histogram += file.histogram / file.histogram.sum()
            first = digests.setdefault(file.digest, file.image)
            if first != file.image:
                message = f"{file.image} is the same picture as {first}"
                report.problems.append(("repeated image", message))
        if file.pixels is not None:
            kinds[file.kinds[-1]] += 1
            report.pixels += file.pixels
            report.images_with += file.pixels > 0
    return kinds


def _compare(
    reports: Mapping[str, DomainReport], digests: Mapping[str, Mapping[bytes, str]]
) -> None:
    """Find validation images among the training images, and classes that differ between domains."""
    copies: dict[str, list[str]] = defaultdict(list)
    for training in ("source", "target"):
        for digest, image in digests.get(training, {}).items():
            if digest in digests.get("val", {}):
                copies[digests["val"][digest]].append(f"{image} of {training}")
    for image, twins in copies.items():
        message = f"{image} is the same picture as {', '.join(twins)}"
        reports["val"].problems.append(("copy in training", message))
    classes = {name: report.classes for name, report in reports.items()}
    first = next(iter(classes))
    for name, found in classes.items():
        if found != classes[first]:
            reports[name].problems.append(
                ("other classes", f"{name} has {list(found)}, {first} has {list(classes[first])}")
            )
