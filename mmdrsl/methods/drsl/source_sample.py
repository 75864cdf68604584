"""What hooks need to look at the modes between steps: the head, and embeddings of a sample of source images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset
from mmdrsl.engine.model_access import unwrapped
from mmdrsl.methods.drsl import functional
from mmdrsl.methods.drsl.drsl_head import DRSLHead
from mmdrsl.methods.drsl.mmdl_head import MMDLHead
from mmdrsl.models.batch_norm import evaluation_pass
from mmdrsl.models.feature_maps import feature_maps
from mmdrsl.models.label_maps import resize_labels, stack_labels

IMAGES_AT_ONCE = 4


class SourceSample(NamedTuple):
    """Embedded pixels of source images.

    Attributes:
        embeddings: Unit vectors (N, D).
        labels: Shape (N,), in [0, C).
        class_frequency: Share of each class among the pixels of the images, shape (C,), > 0 (one pixel is added to
            every class).
    """

    embeddings: Tensor
    labels: Tensor
    class_frequency: Tensor


def find_mode_head(model: nn.Module, name: str) -> MMDLHead:
    """The multi-modal distribution head of an adaptor, or of a plain segmentor with a `DRSLHead`.

    Args:
        model: The model without wrapper.
        name: Key of the head in the adaptor's ``heads``.

    Raises:
        ValueError: There is no such head.
    """
    decode_head = getattr(model, "decode_head", None)
    if isinstance(decode_head, DRSLHead):
        return decode_head.mmdl_head
    heads = getattr(model, "heads", {})
    if name in heads and isinstance(heads[name], MMDLHead):
        return heads[name]
    raise ValueError(
        f"A hook looks after model.heads.{name}, found {sorted(heads)}; add "
        f"heads=dict({name}=dict(type='MMDLHead', ...)) to the UDASegmentor, or use a DRSLHead."
    )


@torch.no_grad()
def embed_source_sample(
    runner: Runner, head: MMDLHead, *, iteration: int, num_images: int, max_pixels_per_class: int
) -> SourceSample:
    """Embed a class-balanced sample of source pixels in evaluation mode; a function of seed and iteration.

    Args:
        runner: The training run; its dataset is a `TwoDomainDataset` or a plain labeled one.
        head: The head to embed with.
        iteration: Number of finished steps.
        num_images: Source images in the sample.
        max_pixels_per_class: Pixels per class in the sample.

    Returns:
        The sample.
    """
    model = unwrapped(runner)
    dataset = runner.train_dataloader.dataset
    two_domains = isinstance(dataset, TwoDomainDataset)
    size = len(dataset.domains["source"] if two_domains else dataset)
    rng = np.random.default_rng([runner.seed, iteration])
    chosen = rng.choice(size, min(num_images, size), replace=False)
    generator = torch.Generator(device=head.representatives.device)
    generator.manual_seed(int(rng.integers(2**32)))
    vectors, classes = [], []
    # Of even size: a single image left over has no statistics of its own where a layer sees one value per channel.
    for part in np.array_split(chosen, math.ceil(len(chosen) / IMAGES_AT_ONCE)):
        items = [
            dataset[
                DomainSample("source", int(index), int(rng.integers(2**32)))
                if two_domains
                else int(index)
            ]
            for index in part
        ]
        data = model.data_preprocessor(pseudo_collate(items), True)
        with evaluation_pass(model):
            embeddings = head(feature_maps(model, data["inputs"]))
        labels = resize_labels(stack_labels(data["data_samples"]), embeddings.shape[2:])
        valid, valid_labels = functional.select_valid(embeddings, labels, head.num_classes)
        vectors.append(valid)
        classes.append(valid_labels)
    embeddings, labels = torch.cat(vectors), torch.cat(classes)
    counts = torch.bincount(labels, minlength=head.num_classes) + 1.0
    index = functional.sample_class_balanced(
        labels, head.num_classes, max_pixels_per_class, generator
    )
    return SourceSample(embeddings[index], labels[index], counts / counts.sum())
