"""Semantic consistency of translations, judged by a frozen segmentor (CyCADA, Hoffman et al. 2018, eq. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdrsl.checkpoint_weights import SEGMENTOR_PREFIX, load_weights, predicts, weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.class_names import classes_of_checkpoint
from mmdrsl.datasets.label_spaces import IGNORE_INDEX


def semantic_weight(iteration: int, *, weight: float, begin: int, ramp: int) -> float:
    """Weight of the semantic terms at an iteration: 0 until `begin`, then rising linearly over `ramp` iterations.

    Args:
        iteration: Finished training steps, >= 0.
        weight: Final weight, >= 0.
        begin: First iteration with a weight above 0.
        ramp: Iterations until the final weight; 0 switches it on at once.

    Returns:
        The weight, in [0, weight].
    """
    if iteration < begin:
        return 0.0
    return weight * min(1.0, (iteration - begin + 1) / ramp) if ramp > 0 else weight


class SemanticConsistency(nn.Module):
    """Cross entropy of a frozen, source-trained segmentor on translated images.

    Labels judge the translated source; the segmentor's own argmax on the original judges the translated target. The
    segmentor stays in evaluation mode and gets no gradients; its weights are part of the translator's checkpoint, so
    that exporting needs no further file; a training, resumed or not, begins by reading it.

    Args:
        segmentor: Config of an MMSegmentation segmentor with the ``data_preprocessor`` that it was trained with.
        checkpoint: File of its weights, plain or of a `UDASegmentor`; read when a training starts (`load_weights`).
        weight: Final weight of each of the two terms, >= 0.
        begin: First iteration with the terms.
        ramp: Iterations over which the weight rises.

    Raises:
        ValueError: A number is negative, or the segmentor has no normalization.
    """

    def __init__(
        self,
        *,
        segmentor: dict,
        checkpoint: str | None = None,
        weight: float = 1.0,
        begin: int = 0,
        ramp: int = 0,
    ) -> None:
        super().__init__()
        if min(weight, begin, ramp) < 0:
            raise ValueError(
                f"weight, begin and ramp must not be negative, found {weight}, {begin} and {ramp}."
            )
        self.segmentor: Any = MODELS.build(segmentor)
        if not getattr(self.segmentor.data_preprocessor, "_enable_normalize", False):
            raise ValueError(
                "The segmentor has no data_preprocessor with mean and std; give the one that it was trained with."
            )
        self.segmentor.requires_grad_(False)
        self.checkpoint = checkpoint
        self.classes: tuple[str, ...] | None = None
        self.schedule = dict(weight=weight, begin=begin, ramp=ramp)
        self.train(False)

    def train(self, mode: bool = True) -> SemanticConsistency:
        """Stay in evaluation mode, whatever mode the translator is in."""
        return super().train(False)

    def weight_at(self, iteration: int) -> float:
        """Weight of the terms at an iteration, see `semantic_weight`."""
        return semantic_weight(iteration, **self.schedule)  # type: ignore[arg-type]

    def load_weights(self) -> None:
        """Read the segmentor's weights.

        Raises:
            FileNotFoundError: No checkpoint is named, or there is no such file.
            ValueError: The file is no checkpoint, or its weights are of another network.
        """
        if self.checkpoint is None or not Path(self.checkpoint).is_file():
            raise FileNotFoundError(
                f"Semantic consistency needs a segmentor trained on the source; there is no file {self.checkpoint}. "
                "Train one (configs/source_only) and name its checkpoint in model.semantic.checkpoint, or set "
                "model.semantic=None for a plain CycleGAN."
            )
        loaded = read_checkpoint(self.checkpoint)
        weights: Mapping[str, Tensor] = weights_of(loaded, self.checkpoint)
        if any(key.startswith(SEGMENTOR_PREFIX) for key in weights):
            weights = {
                key[len(SEGMENTOR_PREFIX) :]: value
                for key, value in weights.items()
                if key.startswith(SEGMENTOR_PREFIX)
            }
        load_weights(self.segmentor, weights, source=self.checkpoint, used=predicts)
        self.classes = classes_of_checkpoint(loaded)

    def logits(self, images: Tensor) -> Tensor:
        """Class scores of images.

        Args:
            images: Red, green, blue in [-1, 1], shape (B, 3, H, W).

        Returns:
            Shape (B, C, H, W).
        """
        preprocessor = self.segmentor.data_preprocessor
        images = (images.float() + 1) * 127.5
        if not preprocessor._channel_conversion:
            # A segmentor that converts from blue, green, red sees red, green, blue, as the translator does.
            images = images.flip(1)
        images = (images - preprocessor.mean) / preprocessor.std
        size = tuple(images.shape[2:])
        metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(images)
        return self.segmentor.encode_decode(images, metas)

    def forward(
        self, *, fake_target: Tensor, labels: Tensor, real_target: Tensor, fake_source: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both terms, without weight.

        Args:
            fake_target: Translated source images, red, green, blue in [-1, 1], (B, 3, H, W).
            labels: Labels of the source images, (B, H, W), 255 where ignored.
            real_target: Target images.
            fake_source: Their translations.

        Returns:
            Term of the source and term of the target, each a mean over the labeled pixels, 0 without any.
        """
        with torch.no_grad():
            predicted = self.logits(real_target).argmax(1)
        return (
            _mean_cross_entropy(self.logits(fake_target), labels),
            _mean_cross_entropy(self.logits(fake_source), predicted),
        )


def _mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp(min=1)
