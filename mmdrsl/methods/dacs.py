"""DACS: a teacher labels the target images of every batch, and ClassMix pastes source classes into them.

Paper: Tranheden et al., "DACS: Domain Adaptation via Cross-domain Mixed Sampling" (WACV 2021), algorithm 1. Defaults:
threshold 0.968, half of the classes of each source image, weight of target pixels by the share of confident ones in the
batch, teacher of rate min(1 - 1 / (t + 1), 0.99) that labels under the statistics of the batch, separate passes
(configs/_base_/methods/dacs.py). The released code's other way to weigh, 1 for a confident pixel and 0 for any other,
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep, MixedView, pixel_loss
from mmdrsl.models.batch_norm import domain_pass
from mmdrsl.models.class_mix import choose_classes, choose_classes_of_batch, paste
from mmdrsl.models.feature_maps import decode
from mmdrsl.models.label_maps import check_rows, without_border_rows
from mmdrsl.models.strong_augmentation import strong_augmentation
from mmdrsl.renamed import renamed_arguments


@MODELS.register_module()
@renamed_arguments(confidence="pseudo_threshold")
class ClassMixTerm(AdaptationTerm):
    """Cross entropy on target images with half of a source image's classes pasted in.

    The teacher labels the target images of the batch; nothing is read from disk. Pixels that come from the source keep
    their labels and weight 1; those of the target have the teacher's class, weighted by the share of the batch's pixels
    about which the teacher is confident, so that early labels count little. The mixed images are jittered and blurred,
    and go through the student in a forward pass of their own. Each source image is pasted into one target image; of
    the domain that has more images the last ones are left out. Heads with batch norm on pooled features (ASPP) need at
    least two images of each domain per rank for it.

    Args:
        weight: Factor, >= 0.
        pseudo_threshold: Probability above which the teacher counts as confident, in [0, 1).
        jitter: Strength of the color jitter, in [0, 0.5]; 0 leaves colors and sharpness alone.
        classes_from: ``image`` draws the classes to paste from each source image's own, as DACS, ``batch`` from all of
            the batch, as DAFormer and MIC.
        ignored_rows: Rows at the top and at the bottom where the teacher's labels do not count, since the border of
            rectified images misleads it; DAFormer has 15 and 120 of Cityscapes' 512.

    Raises:
        ValueError: An argument is outside its range.
    """

    needs_teacher = True

    def __init__(
        self,
        *,
        weight: float = 1.0,
        pseudo_threshold: float = 0.968,
        jitter: float = 0.2,
        classes_from: str = "image",
        ignored_rows: Sequence[int] = (0, 0),
    ) -> None:
        super().__init__(domains=("source", "target"), weight=weight)
        if not 0 <= pseudo_threshold < 1 or not 0 <= jitter <= 0.5:
            raise ValueError(
                "pseudo_threshold must be in [0, 1) and jitter in [0, 0.5], found "
                f"{pseudo_threshold} and {jitter}."
            )
        if classes_from not in ("image", "batch"):
            raise ValueError(f"classes_from must be 'image' or 'batch', found {classes_from!r}.")
        self.pseudo_threshold = pseudo_threshold
        self.jitter = jitter
        self.classes_from = classes_from
        self.ignored_rows = check_rows(ignored_rows)
        self.loss = MODELS.build(dict(type="WeightedCrossEntropyLoss"))

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """Loss on the mixed images and the teacher's confident share.

        Raises:
            ValueError: There is no teacher yet.
        """
        source, target = step.domains["source"], step.domains["target"]
        count = min(len(source.samples), len(target.samples))
        classes, confident = step.teacher_labels(self.pseudo_threshold)
        classes, labels = classes[:count], source.labels[:count]
        if self.classes_from == "image":
            mask = torch.stack([choose_classes(each) for each in labels])
        else:
            mask = choose_classes_of_batch(labels)
        images = paste(mask, source.inputs[:count], target.inputs[:count])
        if self.jitter > 0:
            images = strong_augmentation(images, mean=step.mean, std=step.std, jitter=self.jitter)
        mixed_labels = paste(mask, labels, classes)
        step.show("mixed image", images)
        step.show("mixed label", mixed_labels)
        pixel_weights = without_border_rows(confident.expand(mask.shape), self.ignored_rows)
        # Where running statistics are the target's, mixed images stay out of them.
        with domain_pass(step.segmentor, step.bn_mode, "source", step.domains):
            decoded = decode(step.segmentor, step.segmentor.extract_feat(images))
        loss = pixel_loss(
            step.segmentor,
            decoded,
            mixed_labels,
            weight=paste(mask, torch.ones_like(pixel_weights), pixel_weights),
            loss=self.loss,
        )
        sure = step.teacher_best()[0][:count] > self.pseudo_threshold
        step.mixed = MixedView(
            maps=decoded.maps,
            labels=torch.where(mask | sure, mixed_labels, step.ignore_index),
            of_source=mask,
        )
        return {"loss_mix": self.weight * loss, "confident_share": confident}
