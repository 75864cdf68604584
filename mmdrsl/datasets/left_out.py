"""Files in a dataset's image folder that are not among its images."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from mmdrsl.datasets.validation import files_below

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pnm"),
)
"""Endings of images that are taken unless a dataset names others."""

OTHER_IMAGE_SUFFIXES = (
    *(".jp2", ".j2k", ".jpx", ".heic", ".heif", ".avif", ".jxl", ".tga", ".gif", ".psd", ".exr"),
    *(".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"),
)
"""Endings of images that not every decoder reads."""


def count_endings(names: Iterable[str]) -> Counter[str]:
    """Count files by their endings, in lower case."""
    return Counter(Path(name).suffix.lower() or "no extension" for name in names)


def left_out(dataset: BaseSegDataset) -> Counter[str]:
    """Count the files in a dataset's image folder whose ending keeps them out.

    Args:
        dataset: The dataset, of this project or of MMSegmentation.

    Returns:
        Number of files by ending; labels in the same folder are not among them. Nothing where a list names the images.

    Raises:
        PermissionError: A sub-folder cannot be read.
    """
    folder = dataset.data_prefix.get("img_path")
    if dataset.ann_file or not folder or not os.path.isdir(folder):
        return Counter()
    taken = suffixes_of(dataset)
    names = [name for name in files_below(folder) if not name.lower().endswith(taken)]
    return count_endings(name for name in names if not _is_label(dataset, Path(folder, name)))


def suffixes_of(dataset: BaseSegDataset) -> tuple[str, ...]:
    """Endings of a dataset's images, in lower case."""
    suffixes: Sequence[str] = getattr(dataset, "image_suffixes", (dataset.img_suffix,))
    return tuple(suffix.lower() for suffix in suffixes)


def left_out_message(folder: str, endings: Mapping[str, int], taken: Sequence[str]) -> str:
    """Say how many files are not taken, and why.

    Args:
        folder: Where they are.
        endings: Number of files by ending.
        taken: Endings that are taken.

    Returns:
        The message.
    """
    listed = ", ".join(f"{ending} ({count})" for ending, count in sorted(endings.items()))
    return (
        f"{sum(endings.values())} files in {folder} are not taken, since images end in {', '.join(taken)}: {listed}. "
        "Convert them if they are images, or move them away"
    )


def warn_of_left_out_images(dataset: BaseSegDataset) -> None:
    """Warn of images that a dataset does not take because of their ending.

    Args:
        dataset: As for `left_out`.

    Raises:
        PermissionError: As `left_out`.
    """
    taken = suffixes_of(dataset)
    # A folder may well hold files of the images' own ending that are something else.
    own = {Path(suffix).suffix or suffix for suffix in taken}
    images = {*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES} - own
    found = {ending: count for ending, count in left_out(dataset).items() if ending in images}
    if found:
        message = left_out_message(str(dataset.data_prefix["img_path"]), found, taken)
        print_log(message, logger="current", level=logging.WARNING)


def _is_label(dataset: BaseSegDataset, path: Path) -> bool:
    folder = dataset.data_prefix.get("seg_map_path")
    ending = str(getattr(dataset, "seg_map_suffix", "")).lower()
    return bool(folder) and path.is_relative_to(folder) and path.name.lower().endswith(ending)
