"""How good pseudo labels are, where somebody does have the labels: analysis only, never part of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import build_from_cfg
from mmseg.registry import DATASETS

from mmdrsl.datasets.class_names import check_same_classes, classes_of_data
from mmdrsl.datasets.labeled import LabelledImageDataset
from mmdrsl.datasets.transforms.loading import read_raw_ids, read_train_ids
from mmdrsl.pseudo_labels.artifact import PseudoLabelArtifact
from mmdrsl.pseudo_labels.label_policy import IGNORE_INDEX


def label_quality(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: list[str]
) -> dict[str, dict[str, float | None]]:
    """Precision and coverage of pseudo labels per class.

    Args:
        pairs: Pseudo labels and labels of one image each, shape (H, W), train ids; 255 is none in both.
        classes: Class names.

    Returns:
        ``precision``: share of the pixels labeled with a class that belong to it; ``coverage``: share of the class's
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
    correct, labeled = np.diag(confusion), confusion[:, :number]

    def shares(counts: np.ndarray, totals: np.ndarray) -> dict[str, float | None]:
        entries = zip(
            [*classes, "all"], [*counts, counts.sum()], [*totals, totals.sum()], strict=True
        )
        return {name: float(part / whole) if whole else None for name, part, whole in entries}

    return {
        "precision": shares(correct, labeled.sum(axis=0)),
        "coverage": shares(labeled.sum(axis=1), confusion.sum(axis=1)),
    }


def labeled_among(
    images: dict[str, Path], labeled: dict[str, Any], classes: Sequence[str]
) -> dict[str, dict]:
    """Which pseudo-labeled images somebody has labels of.

    Args:
        images: Image file of every id in an artifact.
        labeled: Config of a `LabelledImageDataset` with some of these images; its pipeline is not used.
        classes: Class names of the pseudo labels.

    Returns:
        That dataset's information about each image that it has, by the artifact's id.

    Raises:
        TypeError: It is no labeled dataset.
        ValueError: It has none of the images, or other classes.
    """
    dataset = build_from_cfg({**labeled, "pipeline": []}, DATASETS)
    if not isinstance(dataset, LabelledImageDataset):
        raise TypeError(
            "Pseudo labels are compared with a LabelledImageDataset (analysis_dataset of the SelfTrainingHook, "
            f"oracle_dataset of a config), found {type(dataset).__name__}."
        )
    check_same_classes(
        classes,
        classes_of_data(dataset),
        of=("the pseudo labels", "the labeled dataset that they are compared with"),
        remedy="Give analysis_dataset of the SelfTrainingHook, or oracle_dataset, the label_space of the target.",
    )
    names = {path.resolve(): name for name, path in images.items()}
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [Path(info["img_path"]).resolve() for info in infos]
    known = {names[path]: info for path, info in zip(paths, infos, strict=True) if path in names}
    if not known:
        raise ValueError(
            f"Pseudo labels are of images such as {next(iter(images.values()), None)}, and the labeled dataset "
            f"(analysis_dataset of the SelfTrainingHook, oracle_dataset of a config) has none of them, but "
            f"{infos[0]['img_path'] if infos else 'none at all'}: give it the same data_root and split."
        )
    return known


def artifact_quality(
    artifact: PseudoLabelArtifact, labeled: dict[str, dict], classes: list[str]
) -> dict[str, Any]:
    """Precision and coverage of a round's labels, by the labels of its images.

    Args:
        artifact: The round.
        labeled: What `labeled_among` gives.
        classes: Class names.

    Returns:
        ``images``, how many of them were compared, and what `label_quality` says of them.
    """

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for name, info in labeled.items():
            truth = (info["seg_map_path"], info["label_lookup"], info["label_channel"])
            yield read_raw_ids(str(artifact.label_path(name))), read_train_ids(*truth)

    return {"images": len(labeled), **label_quality(pairs(), classes)}
