"""Several labeled datasets as one source, a share of the draws each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmdrsl.datasets.class_names import check_same_classes, classes_of_data


@DATASETS.register_module()
class LabeledSets(Dataset):
    """Labeled datasets side by side, such as two synthetic worlds and a few labeled target images.

    An epoch shows every image at least once; images of a dataset with a large share come again. The shares hold over an
    epoch, and a shuffled batch has them on average. Rare-class sampling draws by classes instead.

    Args:
        datasets: Configs of labeled datasets with the same classes in the same order.
        shares: Share of the draws of each dataset, > 0; they are divided by their sum. None treats all images alike.

    Raises:
        ValueError: There is no dataset, the classes differ, or the shares do not fit.
    """

    def __init__(self, *, datasets: Sequence[dict], shares: Sequence[float] | None = None) -> None:
        if not datasets:
            raise ValueError("LabeledSets needs at least one dataset, found none.")
        self.datasets: list[Any] = [DATASETS.build(cfg) for cfg in datasets]
        for dataset in self.datasets[1:]:
            check_same_classes(
                classes_of_data(self.datasets[0]),
                classes_of_data(dataset),
                of=(type(self.datasets[0]).__name__, type(dataset).__name__),
                remedy="Give all datasets the same label_space.",
            )
        sizes = [len(dataset) for dataset in self.datasets]
        if shares is None:
            shares = sizes
        if len(shares) != len(sizes) or not all(share > 0 for share in shares):
            raise ValueError(
                f"shares must be one number above 0 for each of the {len(sizes)} datasets, found {list(shares)}."
            )
        self._draws = _draws_of_an_epoch(sizes, [share / sum(shares) for share in shares])

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and palette, the same for all."""
        return self.datasets[0].metainfo

    def __len__(self) -> int:
        return len(self._draws)

    def _find(self, index: int) -> tuple[Any, int]:
        number, image = self._draws[index]
        return self.datasets[number], int(image)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """What the dataset of a draw says of its image.

        Args:
            index: Number of the draw in an epoch.

        Returns:
            The sample's dictionary.
        """
        dataset, image = self._find(index)
        return dataset.get_data_info(image)

    def __getitem__(self, index: int) -> Any:
        dataset, image = self._find(index)
        return dataset[image]


def _draws_of_an_epoch(sizes: Sequence[int], shares: Sequence[float]) -> np.ndarray:
    """Dataset and image of each draw, shape (L, 2), with as few draws as show every image.

    Args:
        sizes: Images of each dataset, >= 1.
        shares: Share of each dataset, > 0; their sum is 1.
    """
    total = max(size / share for size, share in zip(sizes, shares, strict=True))
    # A share of floating point must not add a draw to a dataset that fits exactly.
    counts = [
        max(size, math.floor(total * share + 0.5))
        for size, share in zip(sizes, shares, strict=True)
    ]
    return np.concatenate(
        [
            np.stack([np.full(count, number), np.arange(count) % size], axis=1)
            for number, (count, size) in enumerate(zip(counts, sizes, strict=True))
        ]
    )
