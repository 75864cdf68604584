"""Refuses pipelines that would hand the ids of label files on as train ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mmcv.transforms.loading
import mmseg.datasets.transforms.loading
import numpy as np

from mmdrsl.datasets.class_names import classes_of_data
from mmdrsl.datasets.label_spaces import IGNORE_INDEX

_STOCK_MODULES = (mmcv.transforms.loading.__name__, mmseg.datasets.transforms.loading.__name__)
_NUM_LABELS = 8


def check_own_loader(dataset: Any) -> None:
    """Refuse a dataset of this project whose pipeline reads its labels by a loader of MMSegmentation.

    Args:
        dataset: The dataset, with its pipeline.

    Raises:
        ValueError: There is such a loader.
    """
    stock = [type(each).__name__ for each in _stock_loaders(dataset.pipeline)]
    if stock:
        raise ValueError(
            f"The pipeline of {type(dataset).__name__} ({dataset.data_root}) reads labels with {stock[0]}, which hands "
            "the ids of the files on as they are: use LoadLabels, which turns them into the classes of the "
            "label_space, or LoadPseudoLabels for images without labels."
        )


def check_stock_labels(dataset: Any, seed: int = 0) -> None:
    """Refuse a dataset of MMSegmentation whose label files hold ids that are no train ids.

    A few labels are read. Ids that are all below the number of classes pass, whatever they mean.

    Args:
        dataset: A dataset, or a wrapper of some; those of this project check their files by themselves.
        seed: Seed of the choice, so that every start reads the same files.

    Raises:
        ValueError: A label holds another id.
    """
    for plain in _plain_datasets(dataset):
        classes = classes_of_data(plain)
        loader = next(_stock_loaders(getattr(plain, "pipeline", None)), None)
        if loader is None or classes is None:
            continue
        ignored = {IGNORE_INDEX, getattr(plain, "ignore_index", IGNORE_INDEX)}
        for index in sorted(np.random.default_rng(seed).permutation(len(plain))[:_NUM_LABELS]):
            info = plain.get_data_info(int(index))
            if info.get("seg_map_path") is None:
                continue
            sample = loader.transform(dict(info))
            ids = {int(number) for number in np.unique(sample["gt_seg_map"])} - ignored
            wrong = sorted(number for number in ids if number >= len(classes))
            if wrong:
                raise ValueError(
                    f"The label {sample['seg_map_path']} of {type(plain).__name__} holds the ids {wrong}, expected "
                    f"train ids 0 to {len(classes) - 1} of {list(classes)}, or 255 for ignored pixels. Use a "
                    "LabelledImageDataset with LoadLabels and a table of the ids, or convert the labels to train ids."
                )


def _plain_datasets(dataset: Any) -> Iterator[Any]:
    """The datasets inside wrappers such as ConcatDataset."""
    inner = getattr(dataset, "datasets", None)
    if inner is None and hasattr(dataset, "dataset"):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
    for each in inner or ():
        yield from _plain_datasets(each)


def _stock_loaders(pipeline: Any) -> Iterator[Any]:
    """Loaders of labels that MMSegmentation and MMCV have, inside other transforms too."""
    transforms = (
        pipeline if isinstance(pipeline, list | tuple) else getattr(pipeline, "transforms", ())
    )
    for each in transforms or ():
        kind = type(each)
        if kind.__module__ in _STOCK_MODULES and "Annotation" in kind.__name__:
            yield each
        else:
            yield from _stock_loaders(each)
