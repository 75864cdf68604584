"""What the parts of a segmentor return: feature maps, outputs of the decode heads, and each domain's share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmdrsl.models.detail_maps import DetailMaps

DECODER = "decoder"


def map_tensors(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Apply a function to every tensor of what a network returns.

    Args:
        function: From tensor to tensor.
        output: A tensor, or tuples and lists of tensors in any depth.

    Returns:
        The results, nested as the output is.

    Raises:
        TypeError: The output holds something else.
    """
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, list | tuple):
        return [map_tensors(function, each) for each in output]
    raise TypeError(
        f"A network returned a {type(output).__name__}, expected tensors, or tuples and lists of them: only these are "
        "shared out over the domains."
    )


def share_of(output: Any, images: slice) -> Any:
    """What a network returned for some of the images.

    Args:
        output: A tensor (B, ...), or tuples and lists of such tensors.
        images: The images.

    Returns:
        The share, nested as the output is.
    """
    return map_tensors(lambda each: each[images], output)


class FeatureMaps(tuple[Any, ...]):
    """Feature maps of backbone and neck in their order, and the decode head's last ones beside them.

    A map is a tensor (B, channels, h, w), or such a tensor with others after it, as a transformer's class token.

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
        """Collect the maps, a single tensor as one; the detail of given ones is taken over."""
        self = super().__new__(cls, (maps,) if isinstance(maps, Tensor) else maps)
        self.decoder = decoder
        self.detail = getattr(maps, "detail", None) if detail is None else detail
        return self

    def part(self, images: slice) -> FeatureMaps:
        """Maps of some of the images."""
        decoder = None if self.decoder is None else self.decoder[images]
        detail = None if self.detail is None else self.detail.part(images)
        return FeatureMaps((share_of(each, images) for each in self), decoder, detail)

    def detach(self) -> FeatureMaps:
        """Maps through which no gradient flows."""
        decoder = None if self.decoder is None else self.decoder.detach()
        detail = None if self.detail is None else self.detail.detach()
        return FeatureMaps((map_tensors(Tensor.detach, each) for each in self), decoder, detail)


@dataclass
class Decoded:
    """What the decode heads of a segmentor return.

    Attributes:
        outputs: Output of every decode head in their order, as its ``loss_by_feat`` takes it: a tensor, or several.
        place: Where the class scores stand among several tensors of the last head; None where it returns one.
        maps: Feature maps.
    """

    outputs: list[Any]
    place: int | None
    maps: FeatureMaps

    @property
    def logits(self) -> Tensor:
        """Class scores that predict, shape (B, C, h, w)."""
        last = self.outputs[-1]
        return last if self.place is None else last[self.place]

    def part(self, images: slice) -> Decoded:
        """The same of some of the images."""
        return Decoded(share_of(self.outputs, images), self.place, self.maps.part(images))


def decode_heads(segmentor: Any) -> list[Any]:
    """The decode heads of an MMSegmentation segmentor: one, or those of a cascade; the last one predicts."""
    heads = segmentor.decode_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def inner_head(head: Any) -> Any:
    """The decode head that classifies: `DRSLHead` and `HRDAHead` wrap it, others are it.

    Args:
        head: Any MMSegmentation decode head, or one that is made around such a head.
    """
    return getattr(head, "decode_head", head)


def own_losses(head: Any) -> list[Any]:
    """Losses that a decode head carries itself.

    Args:
        head: As `inner_head`.

    Returns:
        The modules of its ``loss_decode``; none where it is made of heads that carry them, as K-Net's.
    """
    losses = getattr(inner_head(head), "loss_decode", [])
    return list(losses) if isinstance(losses, list | nn.ModuleList) else [losses]


def classifier_of(decode_head: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """Find what classifies in a decode head.

    Args:
        decode_head: Any MMSegmentation decode head, or one that is made around such a head.

    Returns:
        The convolution ``conv_seg``, and what runs directly before it or itself: the dropout where there is one. None
        where the head has no such convolution.
    """
    for module in inner_head(decode_head).modules():
        classifier = getattr(module, "conv_seg", None)
        if classifier is not None:
            # BaseDecodeHead.cls_seg: dropout, where there is one, then conv_seg.
            return classifier, getattr(module, "dropout", None) or classifier
    return None


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
        chosen = maps[index]
        return chosen if isinstance(chosen, Tensor) else chosen[0]
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

    read: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # `ANNHead` drops out earlier maps by the same module.
        read[:] = inputs[:1]

    def keep(_: nn.Module, __: tuple[Tensor, ...]) -> None:
        # `HRDAHead` classifies the whole images first, then windows of them.
        if maps.decoder is None:
            maps.decoder = read[0]

    found = classifier_of(decode_head)
    if found is None:
        yield maps
        return
    classifier, before = found
    handles = [
        before.register_forward_pre_hook(note),
        classifier.register_forward_pre_hook(keep),
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _run_head(head: nn.Module, *inputs: Any) -> tuple[Any, int | None]:
    """Output of a decode head, and where its class scores stand among several tensors.

    They are what its classifier ``conv_seg`` returns. A head whose scores do not come from one predicts by the last of
    them, as K-Net does.
    """
    scores: list[Tensor] = []
    found = classifier_of(head)
    handle = (
        None
        if found is None
        else found[0].register_forward_hook(lambda _, __, output: scores.append(output))
    )
    try:
        output = head(*inputs)
    finally:
        if handle is not None:
            handle.remove()
    if isinstance(output, Tensor):
        return output, None
    own = getattr(head, "conv_seg", None) is not None
    places = [index for index, each in enumerate(output) if any(each is score for score in scores)]
    return output, places[-1] if own and places else len(output) - 1


def decode(segmentor: Any, features: Any) -> Decoded:
    """Run the decode heads and keep what the last one's classifier reads.

    Args:
        segmentor: The segmentor.
        features: What its backbone or neck returns.

    Returns:
        The outputs, and all feature maps.
    """
    *others, last = decode_heads(segmentor)
    outputs: list[Any] = []
    previous: tuple[Any, ...] = ()
    for head in others:
        output, place = _run_head(head, features, *previous)
        outputs.append(output)
        previous = (output if place is None else output[place],)
    with with_decoder_map(last, features) as maps:
        output, place = _run_head(last, features, *previous)
    return Decoded([*outputs, output], place, maps)


def predict(segmentor: Any, features: Any, metas: list[dict]) -> tuple[Tensor, FeatureMaps]:
    """Predict as the segmentor does, and keep the feature maps that further heads read.

    Args:
        segmentor: The segmentor, in evaluation mode.
        features: What its backbone or neck returns.
        metas: Sizes of the images, as ``encode_decode`` takes them.

    Returns:
        Class scores at the size of the images (B, C, H, W), and all feature maps.
    """
    *others, last = decode_heads(segmentor)
    previous: tuple[Any, ...] = ()
    for head in others:
        previous = (head(features, *previous),)
    with with_decoder_map(last, features) as maps:
        logits = last.predict(features, *previous, metas, segmentor.test_cfg)
    return logits, maps


def feature_maps(segmentor: Any, inputs: Tensor) -> FeatureMaps:
    """Run a segmentor for the feature maps that further heads read.

    Args:
        segmentor: The segmentor.
        inputs: Normalized images, shape (B, 3, H, W).

    Returns:
        All feature maps.
    """
    return decode(segmentor, segmentor.extract_feat(inputs)).maps
