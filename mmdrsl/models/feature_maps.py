"""What further heads read: the feature maps of backbone and neck, and those from which the decode head classifies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmdrsl.models.detail_maps import DetailMaps

DECODER = "decoder"


class FeatureMaps(tuple[Tensor, ...]):
    """Feature maps of backbone and neck in their order, and the decode head's last ones beside them.

    Attributes:
        decoder: What the classifier of the decode head reads, before its dropout, shape (B, channels, h, w); None
            where nobody ran the decode head, or where it has no classifier.
        detail: Maps of windows at full size, where the others are those of images at half size (HRDA); else None.
    """

    decoder: Tensor | None
    detail: DetailMaps | None

    def __new__(
        cls, maps: Any, decoder: Tensor | None = None, detail: DetailMaps | None = None
    ) -> FeatureMaps:
        """Collect the maps; the detail of given ones is taken over."""
        self = super().__new__(cls, maps)
        self.decoder = decoder
        self.detail = getattr(maps, "detail", None) if detail is None else detail
        return self

    def part(self, images: slice) -> FeatureMaps:
        """Maps of some of the images."""
        decoder = None if self.decoder is None else self.decoder[images]
        detail = None if self.detail is None else self.detail.part(images)
        return FeatureMaps((each[images] for each in self), decoder, detail)

    def detach(self) -> FeatureMaps:
        """Maps through which no gradient flows."""
        decoder = None if self.decoder is None else self.decoder.detach()
        detail = None if self.detail is None else self.detail.detach()
        return FeatureMaps((each.detach() for each in self), decoder, detail)


def auxiliary_heads(segmentor: Any) -> list[Any]:
    """The auxiliary heads of an MMSegmentation segmentor, which has none, one, or a list of them."""
    if not segmentor.with_auxiliary_head:
        return []
    heads = segmentor.auxiliary_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def choose_map(maps: Any, index: int | str) -> Tensor:
    """One of the feature maps.

    Args:
        maps: `FeatureMaps`, or a plain sequence of the maps of backbone or neck.
        index: Place in the sequence, or ``decoder``.

    Returns:
        The map, shape (B, channels, h, w).

    Raises:
        ValueError: The decode head's features are wanted and not there.
    """
    if index != DECODER:
        return maps[index]
    decoder = getattr(maps, "decoder", None)
    if decoder is None:
        raise ValueError(
            "A head with in_index='decoder' reads what the decode head's classifier reads, and this decode head has "
            "no conv_seg that runs. Give in_index as the number of a feature map of the backbone."
        )
    return decoder


@contextmanager
def with_decoder_map(decode_head: nn.Module, features: Any) -> Iterator[FeatureMaps]:
    """Keep what the classifier of a decode head reads, while the head runs.

    Args:
        decode_head: Any MMSegmentation decode head. One without a classifier ``conv_seg`` leaves nothing.
        features: Feature maps of backbone or neck.

    Yields:
        These maps; their `decoder` is there when the head has run.
    """
    maps = FeatureMaps(features)

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # `HRDAHead` classifies the whole images first, then windows of them.
        if maps.decoder is None:
            maps.decoder = inputs[0]

    # `DRSLHead` and `HRDAHead` wrap the head that classifies.
    decode_head = getattr(decode_head, "decode_head", decode_head)
    # BaseDecodeHead.cls_seg: dropout, where there is one, then conv_seg.
    module = getattr(decode_head, "dropout", None) or getattr(decode_head, "conv_seg", None)
    if module is None:
        yield maps
        return
    handle = module.register_forward_pre_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()


def decode(segmentor: Any, features: Any) -> tuple[Tensor, FeatureMaps]:
    """Run the decode head and keep what its classifier reads.

    Args:
        segmentor: The segmentor.
        features: Feature maps of its backbone or neck.

    Returns:
        Logits (B, C, h, w), and all feature maps.
    """
    with with_decoder_map(segmentor.decode_head, features) as maps:
        logits = segmentor.decode_head(features)
    return logits, maps


def feature_maps(segmentor: Any, inputs: Tensor) -> FeatureMaps:
    """Run a segmentor for the feature maps that further heads read.

    Args:
        segmentor: The segmentor.
        inputs: Normalized images, shape (B, 3, H, W).

    Returns:
        All feature maps.
    """
    return decode(segmentor, segmentor.extract_feat(inputs))[1]
