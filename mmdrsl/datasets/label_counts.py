"""How many pixels of each class a label file has, whatever dataset it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdrsl.datasets.label_spaces import IGNORE_INDEX, UNKNOWN_ID
from mmdrsl.datasets.transforms.loading import read_raw_ids


@dataclass(frozen=True)
class LabelCounts:
    """What one label holds.

    Attributes:
        size: Width and height.
        pixels: Pixels per class, shape (C + 1,), the last entry the ignored ones.
        unknown: Pixels by raw id that the dataset does not know.
    """

    size: tuple[int, int]
    pixels: npt.NDArray[np.int64]
    unknown: dict[int, int]


def count_label(info: Mapping[str, Any], num_classes: int) -> LabelCounts:
    """Count the pixels of a label by class.

    Args:
        info: ``seg_map_path``, then either ``label_lookup`` and ``label_channel`` (`LabelledImageDataset`) or
            ``label_map`` and ``reduce_zero_label`` (other datasets of MMSegmentation; absent ones change nothing).
        num_classes: Number of classes, C.

    Returns:
        The counts.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file cannot be read or is of another kind.
    """
    raw = read_raw_ids(info["seg_map_path"], info.get("label_channel"))
    counts = np.bincount(raw.ravel())
    pixels = np.zeros(num_classes + 1, np.int64)
    unknown = {}
    for raw_id in np.flatnonzero(counts).tolist():
        train_id = _train_id(raw_id, info, num_classes)
        if train_id == UNKNOWN_ID:
            unknown[raw_id] = int(counts[raw_id])
        else:
            pixels[num_classes if train_id == IGNORE_INDEX else train_id] += counts[raw_id]
    return LabelCounts((raw.shape[1], raw.shape[0]), pixels, unknown)


def _train_id(raw_id: int, info: Mapping[str, Any], num_classes: int) -> int:
    """Train id of a raw id, `UNKNOWN_ID` where the dataset does not know it."""
    lookup = info.get("label_lookup")
    if lookup is not None:
        return int(lookup[min(raw_id, len(lookup) - 1)])
    if raw_id == IGNORE_INDEX or (raw_id == 0 and info.get("reduce_zero_label")):
        return IGNORE_INDEX
    train_id = raw_id - 1 if info.get("reduce_zero_label") else raw_id
    if info.get("label_map") is not None:
        return int(info["label_map"].get(train_id, UNKNOWN_ID))
    return train_id if train_id < num_classes else UNKNOWN_ID
