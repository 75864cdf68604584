"""Turns a data set as published into train ids and, if wanted, smaller images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mmdrsl.atomic_files import read_json, replacing, write_atomically
from mmdrsl.datasets.daformer_index import write_daformer_index
from mmdrsl.datasets.label_counts import count_label
from mmdrsl.datasets.labeled import TRAIN_ID_SUFFIX, LabelledImageDataset
from mmdrsl.datasets.transforms.loading import LoadImage, read_raw_ids, read_train_ids
from mmdrsl.datasets.validation import header_size

_RECORD = "conversion.json"


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """What to make of each pair.

    Attributes:
        out: Root of the converted set, in the layout of the published one; None puts labels beside the published ones,
            as DAFormer does, and leaves the images alone.
        height: Height in pixels to which larger images and labels are reduced, keeping their shape; None keeps sizes.
        jpeg_quality: Store images as JPEG of this quality, 1..100; None keeps PNG.
        verify: Compare labels that exist already with a fresh conversion, rather than trust them.
    """

    out: Path | None = None
    height: int | None = None
    jpeg_quality: int | None = None
    verify: bool = False

    def __post_init__(self) -> None:
        if self.out is None and (self.height or self.jpeg_quality):
            raise ValueError("smaller or re-coded images need a folder of their own: give --out")
        if self.height is not None and self.height < 1:
            raise ValueError(f"the height is {self.height}, expected 1 or more")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"the JPEG quality is {self.jpeg_quality}, expected 1..100")


@dataclass(frozen=True)
class Pair:
    """Files of one image: published and converted."""

    image: Path
    label: Path
    new_image: Path
    new_label: Path


@dataclass
class ConversionReport:
    """What was done.

    Attributes:
        converted: Number of pairs converted now.
        kept: Number of pairs that were there already.
        problems: One message per pair that could not be converted.
    """

    converted: int = 0
    kept: int = 0
    problems: Sequence[str] = ()


def convert_dataset(
    datasets: Sequence[LabelledImageDataset],
    options: ConversionOptions,
    *,
    num_workers: int | None = None,
    progress: bool = True,
) -> ConversionReport:
    """Convert all pairs, several at a time; a second call continues an interrupted one.

    Files appear complete or not at all, and every label written is read again and compared. At the end DAFormer's index
    files are written for the first dataset.

    Args:
        datasets: Splits of one data set, lazily initialized; the first is the training split.
        options: What to make.
        num_workers: Threads; None takes one per core.
        progress: Whether to draw a progress bar.

    Returns:
        The report; pairs with broken files are problems in it and do not stop the others.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: There is no image, or ``out`` holds a conversion of other options.
    """
    root = Path(str(datasets[0].data_root))
    if options.out is not None:
        if options.out.resolve() == root.resolve():
            raise ValueError(
                f"--out {options.out} is the published set itself: name another folder"
            )
        _check_record(options)
    report = ConversionReport()
    problems: list[str] = []
    for number, dataset in enumerate(datasets):
        pairs = _pairs(dataset, root, options)
        work = partial(_convert_safely, dataset=dataset, options=options)
        with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
            bar = tqdm(pool.map(work, pairs), total=len(pairs), unit="pair", disable=not progress)
            results = list(bar)
        problems += [result for result in results if isinstance(result, str)]
        done = [(pair, r) for pair, r in zip(pairs, results, strict=True) if not isinstance(r, str)]
        report.converted += sum(new for _, (new, _) in done)
        report.kept += sum(not new for _, (new, _) in done)
        if number == 0 and done:
            labels = [str(pair.new_label) for pair, _ in done]
            counts = np.array([counted for _, (_, counted) in done])
            write_daformer_index(options.out or root, labels, counts)
    report.problems = problems
    return report


def _check_record(options: ConversionOptions) -> None:
    """Refuse to mix sizes or formats in one folder."""
    out = Path(str(options.out))
    out.mkdir(parents=True, exist_ok=True)
    record = {"height": options.height, "jpeg_quality": options.jpeg_quality}
    path = out / _RECORD
    if path.is_file():
        known = read_json(path, kind="record of a conversion", remedy="Name another folder")
        if known != record:
            raise ValueError(
                f"{out} holds a conversion with {known}, asked for {record}: name another folder"
            )
    else:
        write_atomically(path, json.dumps(record))


def _pairs(dataset: LabelledImageDataset, root: Path, options: ConversionOptions) -> list[Pair]:
    out = options.out or root
    pairs = []
    for _, image, label in zip(*dataset.pair_files(), strict=True):
        new_image = out / Path(image).relative_to(root)
        if options.jpeg_quality is not None:
            new_image = new_image.with_suffix(".jpg")
        stem = label[: -len(dataset.seg_map_suffix)]
        # Cityscapes' own name for train ids keeps "_gtFine".
        stem += "_gtFine" if dataset.seg_map_suffix.startswith("_gtFine") else ""
        new_label = out / Path(stem + TRAIN_ID_SUFFIX).relative_to(root)
        pairs.append(Pair(Path(image), Path(label), new_image, new_label))
    return pairs


def _convert_safely(
    pair: Pair, dataset: LabelledImageDataset, options: ConversionOptions
) -> tuple[bool, npt.NDArray[np.int64]] | str:
    try:
        return _convert(pair, dataset, options)
    except (OSError, ValueError, cv2.error) as error:
        return f"{pair.image}: {error}" if isinstance(error, cv2.error) else str(error)


def _convert(
    pair: Pair, dataset: LabelledImageDataset, options: ConversionOptions
) -> tuple[bool, npt.NDArray[np.int64]]:
    """Convert a pair unless it is there; return whether it was, and its pixels per class."""
    num_classes = len(dataset.metainfo["classes"])
    kept = _is_complete(pair)
    label = None
    if not kept or options.verify:
        label = _new_label(pair, dataset, options)
        kept = kept and np.array_equal(read_raw_ids(str(pair.new_label)), label)
    if not kept and label is not None:
        _write_image(pair, options)
        write_png(pair.new_label, label)
        if not np.array_equal(read_raw_ids(str(pair.new_label)), label):
            raise OSError(f"{pair.new_label} reads differently than written: check the disk")
    counts = count_label({"seg_map_path": str(pair.new_label)}, num_classes)
    return not kept, counts.pixels[:num_classes]


def _is_complete(pair: Pair) -> bool:
    """Whether both files exist, can be read, fit, and are not older than the published ones."""
    if not (pair.new_image.is_file() and pair.new_label.is_file()):
        return False
    published = max(pair.image.stat().st_mtime, pair.label.stat().st_mtime)
    if pair.new_label.stat().st_mtime < published:
        return False
    try:
        label = read_raw_ids(str(pair.new_label))
        return header_size(str(pair.new_image)) == (label.shape[1], label.shape[0])
    except ValueError:
        return False


def _new_label(
    pair: Pair, dataset: LabelledImageDataset, options: ConversionOptions
) -> npt.NDArray[np.uint8]:
    lookup, channel = dataset.label_format["label_lookup"], dataset.label_format["label_channel"]
    label = read_train_ids(str(pair.label), lookup, channel)
    size = label.shape[1], label.shape[0]
    if size != header_size(str(pair.image)):
        raise ValueError(
            f"the label {pair.label} is {size[0]}x{size[1]}, its image {pair.image} has another size"
        )
    return resized(label, options.height, cv2.INTER_NEAREST)


def _write_image(pair: Pair, options: ConversionOptions) -> None:
    if options.out is None:
        return
    pair.new_image.parent.mkdir(parents=True, exist_ok=True)
    reduced = options.height is not None and header_size(str(pair.image))[1] > options.height
    if not reduced and options.jpeg_quality is None:
        with replacing(pair.new_image) as temporary:
            shutil.copyfile(pair.image, temporary)
        return
    image = LoadImage().transform({"img_path": str(pair.image)})["img"]
    write_image(
        pair.new_image, resized(image, options.height, cv2.INTER_AREA), options.jpeg_quality
    )


def resized(pixels: npt.NDArray, height: int | None, interpolation: int) -> npt.NDArray:
    """Reduce an image or label to a height, keeping its shape; smaller ones stay.

    Args:
        pixels: Shape (H, W) or (H, W, 3).
        height: The height, None for no change.
        interpolation: OpenCV's constant.

    Returns:
        The reduced array.
    """
    if height is None or pixels.shape[0] <= height:
        return pixels
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation))


def write_png(path: Path, ids: npt.NDArray[np.uint8]) -> None:
    """Write a label so that it appears complete or not at all.

    Args:
        path: The file; its folder is made.
        ids: Shape (H, W).
    """
    _write_encoded(path, cv2.imencode(".png", ids))


def write_image(path: Path, image: npt.NDArray, jpeg_quality: int | None) -> None:
    """Write an image so that it appears complete or not at all.

    Args:
        path: The file; its folder is made.
        image: Blue, green, red, shape (H, W, 3).
        jpeg_quality: 1..100, or None for PNG.
    """
    if jpeg_quality is None:
        _write_encoded(path, cv2.imencode(".png", image))
    else:
        _write_encoded(path, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]))


def _write_encoded(path: Path, encoded: tuple) -> None:
    if not encoded[0]:
        raise OSError(f"OpenCV cannot encode {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(encoded[1].tobytes())
