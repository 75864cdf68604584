"""Predicting an image from several views: scales, flips, random crops, one head or two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.utils import resize
from torch import Tensor, nn

from ..models.feature_maps import with_decoder_map
from ..models.losses import functional
from .label_policy import Prediction


class JointHeads(EncoderDecoder):
    """A segmentor whose output is that of two heads, one after the other, so that views treat both alike.

    Args:
        segmentor: The segmentor.
        second_head: Name of an `MMDLHead` or of a classifier in `heads`; ``auxiliary`` where they lack it is the
            segmentor's own auxiliary head.
        heads: The adaptor's further heads.
        second_share: Share of the second head in the probabilities of a prediction, in [0, 1].

    Raises:
        ValueError: There is no such head.
    """

    def __init__(
        self,
        segmentor: EncoderDecoder,
        second_head: str,
        heads: nn.ModuleDict,
        second_share: float = 0.0,
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
        self.second_share = second_share

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of both heads, shape (B, 2 C, H, W)."""
        decode_head = self.segmentor.decode_head
        with with_decoder_map(decode_head, self.segmentor.extract_feat(inputs)) as maps:
            main = decode_head.predict(maps, batch_img_metas, self.test_cfg)
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


def crop_windows(
    image_id: str, size: tuple[int, int], *, num_crops: int, share: float, multiple: int
) -> list[tuple[int, int, int, int]]:
    """Random windows of one size, drawn by the image's name.

    Args:
        image_id: Name of the image.
        size: (height, width) of the image.
        num_crops: Number of windows.
        share: Size of a window as a share of the image's sides, in (0, 1].
        multiple: Windows begin and end at multiples of this.

    Returns:
        (top, left, height, width) of each.
    """
    seed = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")
    generator = np.random.default_rng(seed)
    cells = [max(1, side // multiple) for side in size]
    window = [max(1, round(share * count)) for count in cells]
    result = []
    for _ in range(num_crops):
        top, left = (
            multiple * int(generator.integers(count - length + 1))
            for count, length in zip(cells, window, strict=True)
        )
        result.append((top, left, multiple * window[0], multiple * window[1]))
    return result


@dataclass(frozen=True)
class Views:
    """How an image is looked at.

    Attributes:
        flip: Average with the horizontally flipped image.
        scales: Image scales to average over.
        stride: Stride of the result in pixels of the input, >= 1.
        num_crops: Random crops that enter the average.
        crop_share: Their size as a share of the image's sides.
    """

    flip: bool = True
    scales: tuple[float, ...] = (1.0,)
    stride: int = 1
    num_crops: int = 0
    crop_share: float = 0.5

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

    def _flips(self, network: Any, view: Tensor, size: tuple[int, int]) -> Tensor:
        """Sum over the view and, where chosen, its mirror image."""
        total = self._probabilities(network, view, size)
        if self.flip:
            total += self._probabilities(network, view.flip(3), size).flip(3)
        return total

    @torch.no_grad()
    def predict(self, network: Any, inputs: Tensor, image_id: str = "") -> Prediction:
        """Predict one image.

        Args:
            network: A segmentor with ``inference`` in evaluation mode, or `JointHeads`.
            inputs: The normalised image, shape (1, 3, H, W).
            image_id: Name of the image, which seeds the crops.

        Returns:
            The prediction at stride ``stride``: shape (C, ceil(H / stride), ceil(W / stride)), each value taken at the
            centre of its cell.
        """
        # Cells that reach over the border are predicted on a padded image.
        height, width = inputs.shape[2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            inputs = F.pad(inputs, (0, right, 0, down), mode="replicate")
        full = (height + down, width + right)
        size = (full[0] // self.stride, full[1] // self.stride)
        total = None
        for scale in self.scales:
            view = inputs
            if scale != 1.0:
                view = F.interpolate(inputs, scale_factor=scale, mode="bilinear")
            part = self._flips(network, view, size)
            total = part if total is None else total.add_(part)
        passes = 2 if self.flip else 1
        if total is None:
            raise ValueError(f"Views need at least one scale, found {self.scales}.")
        if self.num_crops == 0:
            return self._prediction(total[0].div_(passes * len(self.scales)), network, None)
        counts = torch.full(size, float(passes * len(self.scales)), device=total.device)
        classes = []
        windows = crop_windows(
            image_id, full, num_crops=self.num_crops, share=self.crop_share, multiple=self.stride
        )
        for top, left, rows, columns in windows:
            view = inputs[..., top : top + rows, left : left + columns]
            part = self._flips(network, view, (rows // self.stride, columns // self.stride))[0]
            place = (
                slice(top // self.stride, (top + rows) // self.stride),
                slice(left // self.stride, (left + columns) // self.stride),
            )
            total[0][:, place[0], place[1]] += part
            counts[place] += passes
            classes.append((place, part[: network.num_classes].argmax(dim=0)))
        average = total[0] / counts
        predicted = average[: network.num_classes].argmax(dim=0)
        covered, agreeing = torch.zeros_like(counts), torch.zeros_like(counts)
        for place, crop_classes in classes:
            covered[place] += 1
            agreeing[place] += (crop_classes == predicted[place]).float()
        return self._prediction(average, network, agreeing / covered.clamp(min=1))

    @staticmethod
    def _prediction(average: Tensor, network: Any, agreement: Tensor | None) -> Prediction:
        main, second = average[: network.num_classes], average[network.num_classes :]
        uncertainty = None
        if len(second):
            uncertainty = functional.two_head_uncertainty(second[None], main[None])[0]
            if network.second_share > 0:
                main = functional.pool_probabilities(main, second, network.second_share)
        return Prediction(main, uncertainty=uncertainty, agreement=agreement)
