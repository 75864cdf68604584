"""Takes the statistics of batch normalization from images of a dataset."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import get_dist_info
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE, UnlabelledDataset
from mmdrsl.models.batch_norm import calibrate_running_statistics, normalization_layers
from mmdrsl.models.feature_maps import auxiliary_heads, feature_maps
from mmdrsl.models.segmentors.uda_segmentor import UDASegmentor


def check_sample(*, target_weight: float, num_images: int, batch_size: int) -> None:
    """Refuse impossible numbers.

    Args:
        target_weight: Weight of the target in the statistics.
        num_images: Images to take.
        batch_size: Images per forward pass.

    Raises:
        ValueError: A number is below 2, or the weight outside (0, 1].
    """
    if num_images < 2 or batch_size < 2:
        raise ValueError(
            f"num_images and batch_size must be >= 2, found {num_images} and {batch_size}: a single image has no "
            "statistics where a layer sees one value per channel."
        )
    if not 0 < target_weight <= 1:
        raise ValueError(f"target_weight must be in (0, 1], found {target_weight}.")


def check_takes_statistics(segmentor: Any) -> None:
    """Refuse to adapt the statistics of a network that has none.

    Args:
        segmentor: The segmentor in training mode.

    Raises:
        ValueError: It has no batch normalization whose statistics are not frozen.
    """
    if not normalization_layers(segmentor):
        raise ValueError(
            f"{type(segmentor.backbone).__name__} and its heads have no batch normalization whose statistics are not "
            "frozen: statistics of the target would change nothing. Predict with the checkpoint as it is."
        )


def check_target(dataset: UnlabelledDataset) -> None:
    """Refuse a dataset that has no statistics.

    Args:
        dataset: The target images.

    Raises:
        ValueError: It has a single image.
    """
    if len(dataset) < 2:
        raise ValueError(
            f"the target has {len(dataset)} image: statistics of normalization need two. Add images, or leave the hook "
            "out."
        )


def take_statistics(
    networks: nn.ModuleDict, batches: Iterable[Tensor], *, weight: float = 1.0
) -> None:
    """Take the running statistics of a segmentor and its heads from images; see `calibrate_running_statistics`.

    Args:
        networks: Modules ``segmentor``, its auxiliary heads too, and ``heads``, in training mode.
        batches: Normalized images, each (B, 3, H, W).
        weight: Weight of the images in the new statistics, in (0, 1].
    """
    segmentor: Any = networks["segmentor"]
    heads: Any = networks["heads"]

    def forward(images: Tensor) -> None:
        features = feature_maps(segmentor, images)
        for head in (*auxiliary_heads(segmentor), *heads.values()):
            head(features)

    calibrate_running_statistics(networks, forward, batches, weight=weight)


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """Numbers of images, evenly spaced over a dataset, its first and last among them.

    Args:
        count: Images of the dataset.
        wanted: How many to take at most.
    """
    return np.linspace(0, count - 1, min(wanted, count)).astype(int)


def target_batches(
    model: UDASegmentor,
    target: UnlabelledDataset,
    *,
    num_images: int,
    batch_size: int,
    pipeline: Sequence[dict] | None = None,
) -> Iterator[Tensor]:
    """Whole images, evenly spaced over the dataset, shared out over the ranks.

    Args:
        model: Its preprocessor normalizes the images.
        target: The dataset; its pipeline is not used.
        num_images: How many to take at most.
        batch_size: Images of a batch, one more where one would be left over; those of different size are cut to the
            smallest.
        pipeline: Transforms that load an image; by default the whole one at its own size.

    Yields:
        Normalized images (B, 3, H, W).
    """
    rank, world_size = get_dist_info()
    chosen = evenly_spaced(len(target), num_images)
    shard = chosen[rank::world_size] if len(chosen) >= 2 * world_size else chosen
    return images_of(model, target, shard.tolist(), batch_size=batch_size, pipeline=pipeline)


def images_of(
    model: UDASegmentor,
    target: UnlabelledDataset,
    numbers: Sequence[int],
    *,
    batch_size: int = 1,
    pipeline: Sequence[dict] | None = None,
) -> Iterator[Tensor]:
    """Some whole images of a dataset.

    Args:
        model: Its preprocessor normalizes the images.
        target: The dataset; its pipeline is not used.
        numbers: Of the images.
        batch_size: As in `target_batches`.
        pipeline: As there.

    Yields:
        Normalized images (B, 3, H, W).
    """
    dataset = copy.copy(target)
    dataset.pipeline = Compose(pipeline or WHOLE_IMAGE_PIPELINE)
    return _batches(model, dataset, list(numbers), batch_size)


def mix_target_statistics(
    model: UDASegmentor,
    networks: nn.ModuleDict,
    target: UnlabelledDataset,
    *,
    weight: float,
    num_images: int,
    batch_size: int,
    pipeline: Sequence[dict] | None = None,
) -> None:
    """Let networks predict under statistics in which the target has a weight; they end in evaluation mode.

    Args:
        model: Its preprocessor normalizes the images.
        networks: Modules ``segmentor`` and ``heads``, of the model or of its teacher; changed in place.
        target: The target images.
        weight: Weight of the target, in (0, 1]; the rest is what the layers hold.
        num_images: As in `target_batches`.
        batch_size: As there.
        pipeline: As there.

    Raises:
        ValueError: The target has a single image, or the segmentor has no batch normalization that can take
            statistics.
    """
    check_target(target)
    networks.train()
    check_takes_statistics(networks["segmentor"])
    images = target_batches(
        model, target, num_images=num_images, batch_size=batch_size, pipeline=pipeline
    )
    take_statistics(networks, images, weight=weight)
    networks.eval()


def _batches(
    model: UDASegmentor, dataset: Dataset, keys: Sequence[int], batch_size: int
) -> Iterator[Tensor]:
    count = math.ceil(len(keys) / batch_size)
    if batch_size > 1:
        # A single image left over has no statistics where a layer sees one value per channel.
        count = min(count, max(1, len(keys) // 2))
    for part in np.array_split(np.arange(len(keys)), count):
        batch = pseudo_collate([dataset[keys[index]] for index in part])
        height, width = np.min([image.shape[1:] for image in batch["inputs"]], axis=0)
        batch["inputs"] = [image[:, :height, :width] for image in batch["inputs"]]
        yield model.data_preprocessor(batch, False)["inputs"]
