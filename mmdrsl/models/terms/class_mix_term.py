"""Online self-training on mixed images with a teacher (DACS, Tranheden et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ..class_mix import choose_classes, colour_jitter, paste
from ..normalisation import running_statistics_of_target
from .adaptation_term import AdaptationStep, AdaptationTerm


@MODELS.register_module()
class ClassMixTerm(AdaptationTerm):
    """Cross entropy on target images with half of a source image's classes pasted in.

    The teacher labels the target images of the batch; nothing is read from disk. Pixels that come from the source keep
    their labels and weight 1; those of the target have the teacher's class, weighted by the share of the image's pixels
    about which the teacher is confident, so that early labels count little. The mixed images are jittered and blurred,
    and go through the student in a forward pass of their own. Each source image is pasted into one target image; of
    the domain that has more images the last ones are left out. Heads with batch norm on pooled features (ASPP) need at
    least two images of each domain per rank for it.

    Jitter per channel of the normalised images and one blur for the whole batch stand in for the release's colour
    jitter and blur of images in [0, 255]; its other way to weigh, 1 for a confident pixel and 0 for any other, is left
    out.

    Args:
        weight: Factor, >= 0.
        confidence: Probability above which the teacher counts as confident, in [0, 1).
        jitter: Strength of the colour jitter in units of the normalised images, in [0, 1).
        blur: Probability of blurring a mixed batch, in [0, 1].
        loss: Config of a loss that takes weights per pixel.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        confidence: float = 0.968,
        jitter: float = 0.25,
        blur: float = 0.5,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= confidence < 1 or not 0 <= jitter < 1 or not 0 <= blur <= 1:
            raise ValueError(
                "confidence and jitter must be in [0, 1) and blur in [0, 1], found "
                f"{confidence}, {jitter} and {blur}."
            )
        self.weight = weight
        self.confidence = confidence
        self.jitter = jitter
        self.blur = blur
        self.loss = MODELS.build(loss or dict(type="WeightedCrossEntropyLoss"))

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Loss on the mixed images and the teacher's confident share; empty where the batch lacks a domain.

        Raises:
            ValueError: There is no teacher yet.
        """
        if not {"source", "target"} <= step.domains.keys():
            return {}
        if step.teacher is None:
            raise ValueError(
                "ClassMixTerm needs a teacher that has begun: add default_hooks=dict(teacher=dict(type='TeacherHook')) "
                "with begin at most the length of the warm-up."
            )
        source, target = step.domains["source"], step.domains["target"]
        if source.inputs is None or target.inputs is None:
            raise ValueError("ClassMixTerm needs the images of the step, found none.")
        count = min(len(source.samples), len(target.samples))
        segmentor: Any = step.segmentor
        classes, weights = self._teach(step.teacher["segmentor"], target.inputs[:count])
        labels = source.labels[:count]
        mask = torch.stack([choose_classes(each) for each in labels])
        images = paste(mask, source.inputs[:count], target.inputs[:count])
        images = colour_jitter(images, self.jitter)
        if torch.rand(()) < self.blur:
            width = 0.15 + float(torch.rand(()))
            images = gaussian_blur(images, kernel_size=9, sigma=width)
        # Where the domains are normalised apart, running statistics are the target's: mixed images stay out of them.
        counted = "target" if step.features is not None else "source"
        with running_statistics_of_target(segmentor, counted, step.domains):
            logits = self._logits(segmentor, images)
        pixel_weights = weights[:, None, None].expand(mask.shape)
        loss = self.loss(
            logits,
            paste(mask, labels, classes),
            weight=paste(mask, torch.ones_like(pixel_weights), pixel_weights),
            ignore_index=segmentor.decode_head.ignore_index,
        )
        return {"loss_mix": self.weight * loss, "confident_share": weights.mean()}

    @torch.no_grad()
    def _teach(self, teacher: Any, images: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's classes (B, H, W), and the share of confident pixels of each image (B,)."""
        confidence, classes = self._logits(teacher, images).softmax(dim=1).max(dim=1)
        return classes, (confidence > self.confidence).float().mean(dim=(1, 2))

    @staticmethod
    def _logits(segmentor: Any, images: Tensor) -> Tensor:
        """Logits at the size of the images."""
        return resize(
            segmentor.decode_head(segmentor.extract_feat(images)),
            size=images.shape[2:],
            mode="bilinear",
            align_corners=segmentor.align_corners,
        ).float()
