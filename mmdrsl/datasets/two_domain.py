"""Source and target side by side: one dataset that serves single images of either domain."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import build_from_cfg
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmdrsl.datasets.class_names import check_same_classes, classes_of_data
from mmdrsl.datasets.label_loading import check_stock_labels


class WantedClass(NamedTuple):
    """A class that a drawn image should show after its transforms.

    Attributes:
        class_id: Train id.
        min_pixels: Pixels of it that are enough.
        attempts: How often the transforms are drawn at most.
    """

    class_id: int
    min_pixels: int
    attempts: int


class DomainSample(NamedTuple):
    """Which image to load, and the seed of its random transforms.

    Attributes:
        domain: ``source`` or ``target``.
        image_index: Index into that domain's dataset.
        seed: Seed of all random transforms of this draw, in [0, 2**32).
        wanted: Class to keep in view, None where any view will do.
    """

    domain: str
    image_index: int
    seed: int
    wanted: WantedClass | None = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch inside the block and restore their states after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATASETS.register_module()
class TwoDomainDataset(Dataset):
    """A labeled source dataset and an unlabeled target dataset behind one index.

    The index is a `DomainSample`, drawn by `TwoDomainSampler`. Because every draw carries its own seed, what an image
    looks like after its transforms depends neither on the loader's workers nor on where a run was interrupted.

    Args:
        source: Config of the labeled dataset.
        target: Config of the target dataset (`UnlabelledDataset`); None for source-only training.

    Raises:
        ValueError: The two datasets have different classes, or label files of a stock dataset hold other ids.
    """

    def __init__(self, *, source: dict, target: dict | None = None) -> None:
        self.domains = {"source": build_from_cfg(source, DATASETS)}
        check_stock_labels(self.domains["source"])
        if target is not None:
            self.domains["target"] = build_from_cfg(target, DATASETS)
            source_classes, target_classes = map(classes_of_data, self.domains.values())
            check_same_classes(
                source_classes,
                target_classes,
                of=("the source", "the target"),
                remedy="Give both datasets the same label_space.",
            )

    @property
    def metainfo(self) -> dict:
        """Classes and palette, the same for both domains."""
        return self.domains["source"].metainfo

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.domains.values())

    def __getitem__(self, sample: DomainSample) -> Any:
        dataset = self.domains[sample.domain]
        with seeded(sample.seed):
            packed = dataset[sample.image_index]
            if sample.wanted is not None:
                class_id, min_pixels, attempts = sample.wanted
                # The random state runs on, so every attempt differs and all follow from the seed.
                for _ in range(attempts - 1):
                    label = packed["data_samples"].gt_sem_seg.data
                    if int((label == class_id).sum()) >= min_pixels:
                        break
                    packed = dataset[sample.image_index]
        packed["data_samples"].set_metainfo(dict(domain=sample.domain))
        return packed

    def set_pseudo_labels(self, root: str | None) -> None:
        """Read the target's pseudo labels from a round's artifact; None means all pixels are ignored.

        Args:
            root: Folder of the artifact.
        """
        if "target" in self.domains:
            self.domains["target"].set_pseudo_labels(root)
