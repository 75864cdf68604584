"""The class counts that DAFormer keeps beside a converted data set, read and written in its format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdrsl.datasets.label_counts import count_label
from mmdrsl.datasets.label_spaces import IGNORE_INDEX

_NUM_RECOUNTED = 3


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


def read_daformer_index(
    path: Path, infos: Sequence[Mapping[str, Any]], num_classes: int
) -> npt.NDArray[np.int64]:
    """Read ``sample_class_stats.json``.

    Labels are found by file name, since the folders of an index made elsewhere differ. A few labels are counted again.

    Args:
        path: The file.
        infos: What `count_label` needs, one per label in train ids.
        num_classes: Number of classes, C.

    Returns:
        Pixels per label and class, shape (N, C).

    Raises:
        ValueError: The file has another format, lacks a label, counts ids that the dataset does not know, disagrees
            with a label, or two labels have one name.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        known = {
            Path(entry["file"]).name: {int(key): n for key, n in entry.items() if key != "file"}
            for entry in entries
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is no sample_class_stats.json of DAFormer ({type(error).__name__}: {error})"
        ) from error
    repeated = len(entries) - len(known) or len(infos) - len(
        {Path(info["seg_map_path"]).name for info in infos}
    )
    if repeated:
        raise ValueError(
            f"{path} goes by file names, of which {repeated} are repeated, in the index or in the dataset's "
            "sub-folders: leave it out, and the pixels are counted"
        )
    counts = np.zeros((len(infos), num_classes), np.int64)
    for row, info in zip(counts, infos, strict=True):
        name = Path(info["seg_map_path"]).name
        if name not in known:
            raise ValueError(
                f"{path} does not list the label {name}: make the index again, or leave it out"
            )
        for train_id, number in known[name].items():
            class_id = int(info["label_lookup"][train_id]) if "label_lookup" in info else train_id
            if not (0 <= class_id < num_classes or class_id == IGNORE_INDEX):
                raise ValueError(
                    f"{path} counts pixels of train id {train_id} in {name}, which the dataset's table does not know"
                )
            if class_id != IGNORE_INDEX:
                row[class_id] += number
    for index in np.linspace(0, len(infos) - 1, _NUM_RECOUNTED, dtype=int):
        found = count_label(infos[index], num_classes).pixels[:num_classes]
        if not np.array_equal(found, counts[index]):
            raise ValueError(
                f"{path} disagrees with the label {infos[index]['seg_map_path']}: make the index again"
            )
    return counts
