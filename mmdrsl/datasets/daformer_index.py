"""The class counts that DAFormer keeps beside a converted data set, written in its format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


def write_daformer_index(
    folder: Path, labels: Sequence[str], counts: npt.NDArray[np.int64]
) -> None:
    """Write ``sample_class_stats.json``, ``sample_class_stats_dict.json`` and ``samples_with_class.json``.

    Args:
        folder: Where the files go.
        labels: Paths of the labels in train ids.
        counts: Pixels per label and train id, shape (N, C).
    """
    stats = [
        {str(class_id): int(row[class_id]) for class_id in np.flatnonzero(row)} for row in counts
    ]
    with_class = {
        str(class_id): [
            [labels[index], int(counts[index, class_id])]
            for index in np.flatnonzero(counts[:, class_id]).tolist()
        ]
        for class_id in np.flatnonzero(counts.sum(0))
    }
    contents = {
        "sample_class_stats": [
            {**row, "file": label} for row, label in zip(stats, labels, strict=True)
        ],
        "sample_class_stats_dict": dict(zip(labels, stats, strict=True)),
        "samples_with_class": with_class,
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
