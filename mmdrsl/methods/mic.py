"""MIC: the student learns from masked target images what the teacher says of whole ones.

Paper: Hoyer et al., "MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation" (CVPR 2023), equations 4 to
8. Defaults: blocks of 64 at crops of 1024 (32 at 512), ratio 0.7, threshold 0.968, factor 1. It goes beside any other
method. The published code updates the running statistics of batch normalization with masked images, too; here they stay
out of them, since their statistics are far from both domains.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.methods.adaptation_term import AdaptationTerm
from mmdrsl.models.adaptation_step import AdaptationStep, pixel_loss
from mmdrsl.models.batch_norm import batch_statistics
from mmdrsl.models.block_mask import block_mask
from mmdrsl.models.feature_maps import decode
from mmdrsl.models.label_maps import check_rows, without_border_rows
from mmdrsl.models.strong_augmentation import strong_augmentation


@MODELS.register_module()
class MaskedConsistencyTerm(AdaptationTerm):
    """Cross entropy of the prediction for masked target images with the teacher's labels of whole ones.

    The images are jittered and blurred, then masked after normalization, so that what is hidden has the mean color.
    All pixels count, hidden or not, with the share of confident pixels of the batch as weight; rows at the border may
    be left out.

    Args:
        weight: Factor, >= 0.
        block_size: Side of the blocks in pixels, >= 1.
        ratio: Share of hidden blocks, in [0, 1).
        pseudo_threshold: Probability above which the teacher counts as confident, in [0, 1).
        jitter: Strength of the color jitter, in [0, 0.5]; 0 leaves colors and sharpness alone.
        ignored_rows: Rows at the top and at the bottom where the teacher's labels do not count.

    Raises:
        ValueError: An argument is outside its range.
    """

    needs_teacher = True

    def __init__(
        self,
        *,
        weight: float = 1.0,
        block_size: int = 64,
        ratio: float = 0.7,
        pseudo_threshold: float = 0.968,
        jitter: float = 0.2,
        ignored_rows: Sequence[int] = (0, 0),
    ) -> None:
        super().__init__(domains=("target",), weight=weight)
        if block_size < 1 or not 0 <= ratio < 1 or not 0 <= pseudo_threshold < 1:
            raise ValueError(
                "block_size must be >= 1, ratio and pseudo_threshold in [0, 1), found "
                f"{block_size}, {ratio} and {pseudo_threshold}."
            )
        if not 0 <= jitter <= 0.5:
            raise ValueError(f"jitter must be in [0, 0.5], found {jitter}.")
        self.block_size = block_size
        self.ratio = ratio
        self.pseudo_threshold = pseudo_threshold
        self.jitter = jitter
        self.ignored_rows = check_rows(ignored_rows)
        self.loss = MODELS.build(dict(type="WeightedCrossEntropyLoss"))

    def forward(self, step: AdaptationStep) -> dict[str, Tensor]:
        """The loss on masked images.

        Raises:
            ValueError: There is no teacher yet.
        """
        labels, confident = step.teacher_labels(self.pseudo_threshold)
        weight = without_border_rows(confident.expand(labels.shape), self.ignored_rows)
        images = step.domains["target"].inputs
        if self.jitter > 0:
            images = strong_augmentation(images, mean=step.mean, std=step.std, jitter=self.jitter)
        images = images * block_mask(images, block_size=self.block_size, ratio=self.ratio)
        step.show("masked image", images)
        with batch_statistics(step.segmentor):
            decoded = decode(step.segmentor, step.segmentor.extract_feat(images))
        loss = pixel_loss(step.segmentor, decoded, labels, weight=weight, loss=self.loss)
        return {"loss_masked": self.weight * loss}
