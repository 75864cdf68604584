"""How good pseudo labels are, where somebody does have the labels: analysis only, never part of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.labelled import LabelledImageDataset
from ..datasets.transforms.loading import read_raw_ids, read_train_ids
from .artefact import PseudoLabelArtefact
from .label_policy import IGNORE_INDEX


def label_quality(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: list[str]
) -> dict[str, dict[str, float | None]]:
    """Precision and coverage of pseudo labels per class.

    Args:
        pairs: Pseudo labels and labels of one image each, shape (H, W), train ids; 255 is none in both.
        classes: Class names.

    Returns:
        ``precision``: share of the pixels labelled with a class that belong to it; ``coverage``: share of the class's
        own pixels that got any label. None where there are no such pixels. Each has an entry ``all`` too.
    """
    number = len(classes)
    # Rows: truth. Columns: pseudo label, the last for none.
    confusion = np.zeros((number, number + 1), dtype=np.int64)
    for labels, truth in pairs:
        known = truth != IGNORE_INDEX
        given = np.where(labels == IGNORE_INDEX, number, labels)[known]
        # In eight bits the product would wrap round.
        rows = truth[known].astype(np.int64) * (number + 1)
        flat = np.bincount(rows + given, minlength=confusion.size)
        confusion += flat.reshape(confusion.shape)
    correct, labelled = np.diag(confusion), confusion[:, :number]

    def shares(counts: np.ndarray, totals: np.ndarray) -> dict[str, float | None]:
        entries = zip(
            [*classes, "all"], [*counts, counts.sum()], [*totals, totals.sum()], strict=True
        )
        return {name: float(part / whole) if whole else None for name, part, whole in entries}

    return {
        "precision": shares(correct, labelled.sum(axis=0)),
        "coverage": shares(labelled.sum(axis=1), confusion.sum(axis=1)),
    }


def artefact_quality(
    artefact: PseudoLabelArtefact, images: dict[str, Path], labelled: Any, classes: list[str]
) -> dict[str, Any]:
    """Precision and coverage of a round's labels, by a dataset that has the labels of its images.

    Args:
        artefact: The round.
        images: Image file of every id in the artefact.
        labelled: A `LabelledImageDataset` with some of these images; its pipeline is not used.
        classes: Class names.

    Returns:
        ``images``, how many of them were compared, and what `label_quality` says of them.

    Raises:
        TypeError: It is no labelled dataset.
        ValueError: It has none of the images.
    """
    if not isinstance(labelled, LabelledImageDataset):
        raise TypeError(
            "Pseudo labels are compared with a LabelledImageDataset (analysis_dataset of the SelfTrainingHook, "
            f"oracle_dataset of a config), found {type(labelled).__name__}."
        )
    names = {path.resolve(): name for name, path in images.items()}
    infos = [labelled.get_data_info(index) for index in range(len(labelled))]
    known = [info for info in infos if Path(info["img_path"]).resolve() in names]
    if not known:
        raise ValueError(
            f"Pseudo labels are of images such as {next(iter(images.values()), None)}, and the labelled dataset "
            f"(analysis_dataset of the SelfTrainingHook, oracle_dataset of a config) has none of them, but "
            f"{infos[0]['img_path'] if infos else 'none at all'}: give it the same data_root and split."
        )

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for info in known:
            path = artefact.label_path(names[Path(info["img_path"]).resolve()])
            truth = (info["seg_map_path"], info["label_lookup"], info["label_channel"])
            yield read_raw_ids(str(path)), read_train_ids(*truth)

    return {"images": len(known), **label_quality(pairs(), classes)}
