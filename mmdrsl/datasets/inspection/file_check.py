"""Everything that can be said about one image and its label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdrsl.datasets.image_header import ImageHeader, read_header
from mmdrsl.datasets.label_counts import count_label
from mmdrsl.datasets.transforms.loading import LoadImage, UnknownColorsError, turned_message


@dataclass
class FileReport:
    """What one image and its label are.

    Attributes:
        image: Path of the image.
        problems: One (kind, message) per thing that is wrong.
        kinds: How the image is stored, then the label where there is one.
        size: Width and height of the image, upright; None where it cannot be read.
        orientation: EXIF orientation of the image.
        pixels: Pixels per class, shape (C + 1,), the last entry the ignored ones; zeros without a label.
        unknown: Pixels by raw id that the dataset does not know.
        mean: Mean red, green, blue of the image, 0..255.
        histogram: Pixels by brightness, 32 steps from 0 to 255, on every fourth pixel.
        digest: Hash of the decoded pixels; equal for copies, whatever their names and compression.
    """

    image: str
    problems: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    orientation: int = 1
    pixels: npt.NDArray[np.int64] | None = None
    unknown: dict[int, int] = field(default_factory=dict)
    mean: npt.NDArray[np.float64] | None = None
    histogram: npt.NDArray[np.int64] | None = None
    digest: bytes = b""


def check_file(info: dict[str, Any], num_classes: int) -> FileReport:
    """Read an image and its label completely.

    Args:
        info: ``img_path``; where there is a label, what `count_label` needs.
        num_classes: Number of classes, C.

    Returns:
        The report; files that are missing or broken are problems in it.
    """
    report = FileReport(image=info["img_path"])
    try:
        _check_image(report)
    except (OSError, ValueError) as error:
        report.problems.append(("unreadable image", str(error)))
    if info.get("seg_map_path"):
        if report.orientation != 1:
            message = turned_message([report.image], report.orientation)
            report.problems.append(("turned image", message))
        try:
            _check_label(report, info, num_classes)
        except FileNotFoundError:
            message = f"{info['img_path']} has no label: expected {info['seg_map_path']}"
            report.problems.append(("image without label", message))
        except UnknownColorsError as error:
            report.problems.append(("unknown ids", str(error)))
        except (OSError, ValueError) as error:
            report.problems.append(("unreadable label", str(error)))
    return report


def _check_image(report: FileReport) -> None:
    image = LoadImage().transform({"img_path": report.image})["img"]
    header = _header(report.image)
    report.kinds.append(header.describe())
    report.orientation = header.orientation
    report.size = image.shape[1], image.shape[0]
    report.mean = image.reshape(-1, 3).mean(0)[::-1]
    brightness = image[::4, ::4].mean(2)
    report.histogram = np.bincount((brightness / 8).astype(np.int64).ravel(), minlength=32)
    report.digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _check_label(report: FileReport, info: dict[str, Any], num_classes: int) -> None:
    path = info["seg_map_path"]
    counts = count_label(info, num_classes)
    report.kinds.append(_header(path).describe())
    report.pixels, report.unknown = counts.pixels, counts.unknown
    size = counts.size
    if report.size is not None and size != report.size:
        message = (
            f"{path} is {size[0]}x{size[1]}, its image {report.image} {report.size[0]}x{report.size[1]} "
            "(width x height)"
        )
        report.problems.append(("label of another size", message))
    if report.unknown:
        listed = ", ".join(f"{raw_id} ({count} pixels)" for raw_id, count in report.unknown.items())
        report.problems.append(("unknown ids", f"{path} holds the unknown ids {listed}"))


def _header(path: str) -> ImageHeader:
    with Path(path).open("rb") as file:
        return read_header(file, path)
