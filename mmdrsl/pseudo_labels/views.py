"""Predicting an image from several views: scales, flips, one head or two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmdrsl.models.class_weights import without_class_weights
from mmdrsl.models.feature_maps import predict
from mmdrsl.models.losses.classifier_agreement import pool_probabilities
from mmdrsl.models.view_average import average_over_views


class JointHeads(EncoderDecoder):
    """A segmentor whose output is that of two heads, one after the other, so that views treat both alike.

    Args:
        segmentor: The segmentor.
        second_head: Name of an `MMDLHead` or of a classifier in `heads`; ``auxiliary`` where they lack it is the
            segmentor's own auxiliary head.
        heads: The adaptor's further heads.
        second_weight: Share of the second head in the probabilities of a prediction, in [0, 1].

    Raises:
        ValueError: There is no such head.
    """

    def __init__(
        self,
        segmentor: EncoderDecoder,
        second_head: str,
        heads: nn.ModuleDict,
        second_weight: float = 0.0,
    ) -> None:
        # Not EncoderDecoder's own, which builds networks.
        BaseSegmentor.__init__(self)
        auxiliary = getattr(segmentor, "auxiliary_head", None)
        if isinstance(auxiliary, nn.ModuleList):
            auxiliary = auxiliary[0]
        head = dict(heads).get(second_head, auxiliary if second_head == "auxiliary" else None)
        if not hasattr(head, "log_posterior") and not hasattr(head, "predict"):
            raise ValueError(
                f"The label policy reads the head {second_head!r}; the model has the heads {sorted(heads)}"
                f"{' and an auxiliary head' if auxiliary is not None else ''}. It takes 'auxiliary' or the name of an "
                "MMDLHead or a classifier in model.heads."
            )
        self.segmentor = segmentor
        self.second: Any = head
        self.test_cfg = segmentor.test_cfg
        self.align_corners = segmentor.align_corners
        self.num_classes = segmentor.num_classes
        self.out_channels = 2 * segmentor.num_classes
        self.second_weight = second_weight

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of both heads, shape (B, 2 C, H, W)."""
        features = self.segmentor.extract_feat(inputs)
        main, maps = predict(self.segmentor, features, batch_img_metas)
        if hasattr(self.second, "log_posterior"):
            second = resize(
                self.second.log_posterior(self.second(maps)),
                size=main.shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
            )
        else:
            second = self.second.predict(maps, batch_img_metas, self.test_cfg)
        return torch.cat([main, second], dim=1)


@contextmanager
def inference_mode_of(segmentor: Any, test_cfg: dict | None) -> Iterator[None]:
    """Let a segmentor predict whole images or sliding windows as given, and restore its own setting.

    Args:
        segmentor: The segmentor.
        test_cfg: ``dict(mode='whole')`` or ``dict(mode='slide', crop_size=..., stride=...)``; None keeps its own.
    """
    own = segmentor.test_cfg
    segmentor.test_cfg = own if test_cfg is None else ConfigDict(test_cfg)
    try:
        yield
    finally:
        segmentor.test_cfg = own


@dataclass(frozen=True)
class Views:
    """How an image is looked at.

    Attributes:
        flip: Average with the horizontally flipped image.
        scales: Image scales to average over.
        stride: Stride of the result in pixels of the input, >= 1.
        undo_class_weights: Divide the segmentation head's probabilities by the class weights of its cross entropy; see
            `without_class_weights`.
    """

    flip: bool = True
    scales: tuple[float, ...] = (1.0,)
    stride: int = 1
    undo_class_weights: bool = False

    def _probabilities(self, network: Any, view: Tensor, size: tuple[int, int]) -> Tensor:
        """Class probabilities of one view, brought to a size: (B, G C, h, w) with G heads' softmax each."""
        whole = network.test_cfg.get("mode", "whole") == "whole"
        # A whole image is decoded straight to the wanted size; sliding windows need their own.
        decoded = torch.Size(size) if whole else view.shape[2:]
        metas = [dict(ori_shape=decoded, img_shape=decoded) for _ in range(len(view))]
        logits = network.inference(view, metas).float()
        if tuple(logits.shape[2:]) != tuple(size):
            logits = F.interpolate(logits, size=size, mode="bilinear")
        groups = logits.unflatten(1, (-1, network.num_classes))
        return groups.softmax(dim=2).flatten(1, 2)

    @torch.no_grad()
    def predict(self, network: Any, inputs: Tensor) -> Tensor:
        """Class probabilities of one image, averaged over the views and pooled over the heads.

        Args:
            network: A segmentor with ``inference`` in evaluation mode, or `JointHeads`.
            inputs: The normalized image, shape (1, 3, H, W).

        Returns:
            Probabilities at stride ``stride``: shape (C, ceil(H / stride), ceil(W / stride)), each value taken at the
            center of its cell.

        Raises:
            ValueError: There is no scale, or there are no class weights to undo.
        """
        # Cells that reach over the border are predicted on a padded image.
        height, width = inputs.shape[2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            inputs = F.pad(inputs, (0, right, 0, down), mode="replicate")
        size = ((height + down) // self.stride, (width + right) // self.stride)
        average = average_over_views(
            lambda view: self._probabilities(network, view, size),
            inputs,
            flip=self.flip,
            scales=self.scales,
        )
        main, second = average[:, : network.num_classes], average[:, network.num_classes :]
        if self.undo_class_weights:
            main = without_class_weights(main, getattr(network, "segmentor", network))
        if second.shape[1] == 0:
            return main[0]
        return pool_probabilities(main[0], second[0], network.second_weight)
