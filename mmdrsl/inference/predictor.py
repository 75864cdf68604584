"""Labels and confidence of images: the network applied to batches, or to several views of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmseg.models.utils import resize
from torch import Tensor

from mmdrsl.inference.image_loading import ImageLoader, LoadedImage, pipeline_of
from mmdrsl.inference.network import Network
from mmdrsl.pseudo_labels.views import Views


@dataclass(frozen=True)
class Prediction:
    """What the network says about an image.

    Attributes:
        key: What the caller knows the image by.
        image: Blue, green, red, shape (H, W, 3), uint8.
        labels: Train ids, shape (H, W), uint8.
        confidence: Probability of the label, 0..255 for 0..1, shape (H, W), uint8; None where it is not asked for.
    """

    key: Any
    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray | None


class Predictor:
    """Predicts as the test of a config does: pipeline, sizes, sliding windows and augmentation are the test's.

    Args:
        cfg: The config.
        network: Its network.
        tta: Average the class probabilities over the views of ``tta_pipeline``.
        views: Average over scales and mirror images of the test's image, as a `PseudoLabeler` does; None does not.

    Raises:
        ValueError: Both kinds of augmentation are asked for, or the config lacks the pipeline.
    """

    def __init__(
        self, *, cfg: Config, network: Network, tta: bool = False, views: Views | None = None
    ) -> None:
        if tta and views is not None:
            raise ValueError(
                "Found tta and scales, expected one of them: leave --tta or --scales out."
            )
        self.network = network
        self.views = views
        self.load = ImageLoader(pipeline_of(cfg, tta=tta))

    def predict(
        self, images: Iterable[LoadedImage], *, batch_size: int = 1, confidence: bool = False
    ) -> Iterator[Prediction]:
        """Predict images in their order.

        Args:
            images: What `load` returned.
            batch_size: Most images per pass of the network, >= 1; only neighbors of equal size share one.
            confidence: Whether to compute the confidence.

        Yields:
            A prediction per image.
        """
        batch: list[LoadedImage] = []
        for image in images:
            if batch and image.sizes != batch[0].sizes:
                yield from self._predict(batch, confidence)
                batch = []
            batch.append(image)
            if len(batch) == batch_size:
                yield from self._predict(batch, confidence)
                batch = []
        if batch:
            yield from self._predict(batch, confidence)

    @torch.inference_mode()
    def _predict(self, batch: list[LoadedImage], confidence: bool) -> list[Prediction]:
        if self.views is None and len(batch[0].views) == 1:
            tested = self._test(batch, 0)
            # Labels are the test's own; its logits become probabilities only where they are asked for.
            return [
                _prediction(image, labels, _highest_share(logits) if confidence else None)
                for image, (logits, labels) in zip(batch, tested, strict=True)
            ]
        if self.views is None:
            averages = self._average_of_views(batch)
        else:
            averages = [self._average_of_scales(self.views, image) for image in batch]
        return [
            _prediction(image, average.argmax(dim=0), average.amax(dim=0) if confidence else None)
            for image, average in zip(batch, averages, strict=True)
        ]

    def _test(self, batch: list[LoadedImage], view: int) -> list[tuple[Tensor, Tensor]]:
        """Logits (C, H, W) and labels (H, W) of one view of every image, mirrored back, at the size of the file."""
        packed = [image.views[view] for image in batch]
        data = {
            "inputs": [tensor for tensor, _ in packed],
            "data_samples": [sample for _, sample in packed],
        }
        tested = []
        for sample in self.network.model.test_step(data):
            tested.append((sample.seg_logits.data, sample.pred_sem_seg.data[0]))
            # The sample lives as long as its image, which is longer than the logits are needed.
            del sample.seg_logits
        return tested

    def _average_of_views(self, batch: list[LoadedImage]) -> list[Tensor]:
        """Probabilities (C, H, W) added up as `SegTTAModel` does, with one view in memory at a time."""
        count = len(batch[0].views)
        totals: list[Tensor] = []
        for view in range(count):
            probabilities = [logits.softmax(dim=0) for logits, _ in self._test(batch, view)]
            if totals:
                for total, added in zip(totals, probabilities, strict=True):
                    total += added
            else:
                totals = probabilities
        return [total / count for total in totals]

    def _average_of_scales(self, views: Views, image: LoadedImage) -> Tensor:
        """Probabilities (C, H, W) as a labeling averages them, at the size of the file."""
        tensor, sample = image.views[0]
        data = {"inputs": [tensor], "data_samples": [sample]}
        inputs = self.network.model.data_preprocessor(data, False)["inputs"]
        average = views.predict(self.network.segmentor, inputs)
        # Padding is right and below.
        average = average[:, : tensor.shape[1], : tensor.shape[2]]
        resized = resize(
            average[None],
            size=image.image.shape[:2],
            mode="bilinear",
            align_corners=self.network.segmentor.align_corners,
        )
        return resized[0]


def _highest_share(logits: Tensor) -> Tensor:
    """Highest probability (H, W) of logits (C, H, W), without the others."""
    return (logits.amax(dim=0) - logits.logsumexp(dim=0)).exp()


def _prediction(image: LoadedImage, labels: Tensor, share: Tensor | None) -> Prediction:
    """Bring labels and their probability, both (H, W), into the form of files."""
    confidence = None
    if share is not None:
        confidence = (share.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return Prediction(image.key, image.image, labels.to(torch.uint8).cpu().numpy(), confidence)
