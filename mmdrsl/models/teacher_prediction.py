"""How the teacher looks at the target images of a batch: statistics, views, class weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from mmseg.models.utils import resize
from torch import Tensor

from mmdrsl.models.batch_norm import batch_statistics
from mmdrsl.models.class_weights import without_class_weights
from mmdrsl.models.feature_maps import decode
from mmdrsl.models.view_average import average_over_views


@dataclass(frozen=True, kw_only=True)
class TeacherPrediction:
    """How the teacher predicts the target images of a batch.

    Attributes:
        statistics: Statistics of batch normalization: ``running``, or ``batch`` for those of these images, which are
            used and not kept. Layers that are frozen in the student stay so.
        flip: Average with the mirrored images.
        scales: Image scales to average over, each > 0.
        undo_class_weights: Divide by the class weights of the segmentation head's training; see
            `without_class_weights`.

    Raises:
        ValueError: A value is outside its range.
    """

    statistics: str = "running"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    undo_class_weights: bool = False

    def __post_init__(self) -> None:
        if self.statistics not in ("running", "batch"):
            raise ValueError(f"statistics must be 'running' or 'batch', found {self.statistics!r}.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(
                f"scales must be one positive number or more, found {list(self.scales)}."
            )

    def probabilities(self, teacher: Any, student: Any, images: Tensor) -> Tensor:
        """Class probabilities of images.

        Args:
            teacher: The segmentor that predicts, in evaluation mode.
            student: Its counterpart, whose layers in training mode are those that take ``batch`` statistics.
            images: Normalized images, shape (B, 3, H, W).

        Returns:
            Shape (B, C, H, W), float32.

        Raises:
            ValueError: There are no class weights to undo.
        """

        def predict(view: Tensor) -> Tensor:
            logits = decode(teacher, teacher.extract_feat(view)).logits
            full = resize(
                logits,
                size=tuple(images.shape[2:]),
                mode="bilinear",
                align_corners=teacher.align_corners,
            )
            return full.float().softmax(dim=1)

        with self._statistics(teacher, student):
            mean = average_over_views(predict, images, flip=self.flip, scales=self.scales)
        return without_class_weights(mean, teacher) if self.undo_class_weights else mean

    def _statistics(self, teacher: Any, student: Any) -> AbstractContextManager[None]:
        return (
            batch_statistics(teacher, like=student) if self.statistics == "batch" else nullcontext()
        )
