"""Fills in what a config of an adaptation leaves out: numbers of classes, channels, class weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import STDCHead
from mmseg.models.losses import CrossEntropyLoss, OhemCrossEntropy
from mmseg.registry import MODELS

from mmdrsl.models.feature_maps import DECODER, FeatureMaps, choose_map, classifier_of, decode_heads
from mmdrsl.models.losses.segmentation_losses import WeightedCrossEntropyLoss
from mmdrsl.models.segmentors.support import class_of

# Channels do not depend on the size; every stage of a network has some places left of this one.
PROBE_SIZE = (256, 256)


# What a network may raise for an image of shapes alone, or of a size that it does not take.
_FAILURES = (
    RuntimeError,
    NotImplementedError,
    AttributeError,
    TypeError,
    ValueError,
    AssertionError,
)


@dataclass(frozen=True)
class MapChannels:
    """Channels of the feature maps that heads read.

    Attributes:
        predicting: One number per map of backbone and neck, as they predict.
        training: The same, as they train.
    """

    predicting: list[int]
    training: list[int]


def heads_of(segmentor: Mapping[str, Any]) -> Iterator[Any]:
    """Configs of a segmentor's decode heads and auxiliary heads.

    Args:
        segmentor: Config of the segmentor.

    Yields:
        The config of each, as it stands in `segmentor`.
    """
    for key in ("decode_head", "auxiliary_head"):
        entry = segmentor.get(key)
        yield from entry if isinstance(entry, list | tuple) else [entry] if entry else []


def learns_classes(head: Mapping[str, Any]) -> bool:
    """Whether a head learns the classes of the labels: MMSegmentation's `STDCHead` tells boundaries from the rest.

    Args:
        head: Config of a decode head, or of anything else.
    """
    kind = class_of(head) if "type" in head else None
    return not (isinstance(kind, type) and issubclass(kind, STDCHead))


def parts_of(head: Any) -> list[Any]:
    """Configs that say classes and channels of a head: its own, or those of the heads that it is made of, as K-Net's.

    Args:
        head: Config of a decode head.
    """
    values = [
        each
        for value in head.values()
        for each in (value if isinstance(value, list | tuple) else [value])
    ]
    nested = [
        each
        for each in values
        if isinstance(each, dict) and "type" in each and _takes(each, "num_classes")
    ]
    return nested or [head]


def complete_segmentor(
    segmentor: Mapping[str, Any],
    *,
    num_classes: int | None,
    class_weight: Sequence[float] | None,
    crop_size: Sequence[int] | None,
) -> tuple[ConfigDict, MapChannels]:
    """Fill in ``num_classes``, ``in_channels`` and class weights of all heads, and check those that are there.

    The windows of an `HRDASegmentor` become half as high and wide as the crops.

    Args:
        segmentor: Config of the segmentor; it stays as it is.
        num_classes: C; None takes the last decode head's own, where it has one.
        class_weight: Weight per class for every cross entropy that has none; None for none.
        crop_size: (height, width) of the image that backbone and neck are looked at with.

    Returns:
        The completed config, and the channels of the feature maps.

    Raises:
        ValueError: A head has another number of classes or of channels, or there are more or fewer class weights.
    """
    cfg = ConfigDict(copy.deepcopy(dict(segmentor)))
    whose = "the label space of the model"
    if num_classes is None:
        whose, num_classes = "the decode head", _own_classes(cfg)
    if num_classes is not None and class_weight is not None and len(class_weight) != num_classes:
        raise ValueError(
            f"class_weight has {len(class_weight)} weights, but {whose} has {num_classes} classes: give one weight per "
            "class."
        )
    size = crop_size or PROBE_SIZE
    if _takes(cfg, "detail_size"):
        cfg.setdefault("detail_size", [side // 2 for side in size])
    channels = feature_channels(cfg, size)
    for head in heads_of(cfg):
        for part in parts_of(head):
            complete_head(part, num_classes=num_classes, class_weight=class_weight, whose=whose)
            # Of the heads that a head is made of, one reads the feature maps.
            if part is head or _takes(part, "in_index"):
                complete_input(part, channels.predicting)
    return cfg, channels


def _own_classes(segmentor: Mapping[str, Any]) -> int | None:
    """Number of classes that the config of the head that predicts names; None where it names none."""
    heads = segmentor["decode_head"]
    last = heads[-1] if isinstance(heads, list | tuple) else heads
    return parts_of(last)[-1].get("num_classes")


def complete_head(
    head: Any,
    *,
    num_classes: int | None,
    class_weight: Sequence[float] | None = None,
    whose: str = "the segmentor",
) -> None:
    """Fill in the number of classes and the class weights of a head.

    Args:
        head: Config of a decode head, changed in place.
        num_classes: C; None leaves the head's own.
        class_weight: Weight per class for its cross entropy where that has none. MMSegmentation's own then divides by
            all pixels, ignored ones too (``avg_non_ignore=False``), the only way in which it takes weights.
        whose: What has the number of classes, for the message.

    Raises:
        ValueError: The head has another number of classes, or the weights reach no loss, or are more or fewer.
    """
    if not learns_classes(head):
        return
    if num_classes is not None and _takes(head, "num_classes"):
        _fill_in(head, "num_classes", num_classes, f"{whose} has")
    if not _takes(head, "loss_decode"):
        return
    # MMSegmentation's own default.
    losses = head.setdefault("loss_decode", ConfigDict(type="CrossEntropyLoss"))
    losses = losses if isinstance(losses, list | tuple) else [losses]
    for loss in losses:
        own = loss.get("class_weight")
        if num_classes is not None and isinstance(own, list | tuple) and len(own) != num_classes:
            raise ValueError(
                f"{loss['type']} of {head['type']} has {len(own)} entries in class_weight, but {whose} has "
                f"{num_classes} classes: leave class_weight out, or give one weight per class."
            )
    if class_weight is None:
        return
    for loss in losses:
        if "class_weight" in loss:
            continue
        kind = class_of(loss)
        if issubclass(kind, CrossEntropyLoss):
            if loss.get("use_sigmoid"):
                # MMSegmentation's fails with weights there.
                continue
            # MMSegmentation's cross entropy takes class weights only without avg_non_ignore.
            loss.update(class_weight=list(class_weight), avg_non_ignore=False)
        elif issubclass(kind, WeightedCrossEntropyLoss | OhemCrossEntropy):
            loss.update(class_weight=list(class_weight))
    if not any("class_weight" in loss for loss in losses):
        raise ValueError(
            f"model.class_weight reaches no loss of {head['type']}: {[loss['type'] for loss in losses]} are no cross "
            "entropy of softmax. Give one of them class_weight, or set model.class_weight=None."
        )


def complete_further_head(
    cfg: Mapping[str, Any],
    *,
    segmentor: Any,
    channels: MapChannels,
    class_weight: Sequence[float] | None,
) -> ConfigDict:
    """Fill in a head beside the segmentor, which reads the feature map that it names.

    Args:
        cfg: Config of the head; it stays as it is. Its ``in_index`` may be ``decoder``: what the decode head's
            classifier reads.
        segmentor: The built segmentor.
        channels: Channels of its feature maps.
        class_weight: As for `complete_head`.

    Returns:
        The completed config.

    Raises:
        ValueError: The head has another number of classes or channels, or its input has none that can be found.
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    complete_head(cfg, num_classes=segmentor.num_classes, class_weight=class_weight)
    if cfg.get("in_index") != DECODER:
        if channels.predicting != channels.training and _takes(cfg, "in_channels"):
            raise ValueError(
                f"{cfg['type']} has in_index={cfg.get('in_index', -1)}, but {type(segmentor.backbone).__name__} has "
                f"feature maps of {channels.training} channels while it trains and of {channels.predicting} while it "
                "predicts: in_index='decoder' is the only input that is the same in both; leave the method out if its "
                "head needs another."
            )
        complete_input(cfg, channels.predicting)
        return cfg
    decode_head = decode_heads(segmentor)[-1]
    classifier: Any = classifier_of(decode_head)
    if classifier is not None:
        _fill_in(
            cfg, "in_channels", classifier[0].in_channels, "the decode head's classifier reads"
        )
    elif "in_channels" not in cfg:
        raise ValueError(
            f"{cfg['type']} reads what the classifier of {type(decode_head).__name__} reads, and that has no "
            "conv_seg: give in_index as the number of a feature map of the backbone."
        )
    return cfg


def complete_discriminator(cfg: Mapping[str, Any], *, num_classes: int) -> ConfigDict:
    """Fill in the ``in_channels`` of a discriminator, which judges class scores.

    Args:
        cfg: Config of the discriminator; it stays as it is.
        num_classes: C.

    Returns:
        The completed config.

    Raises:
        ValueError: It has another number of channels.
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    if _takes(cfg, "in_channels"):
        _fill_in(cfg, "in_channels", num_classes, "the number of classes that it judges is")
    return cfg


def feature_channels(segmentor: Mapping[str, Any], size: Sequence[int]) -> MapChannels:
    """Channels of the feature maps of a segmentor's backbone and neck, from a look at one image.

    The two are built aside: the random stream goes on as if nothing had been. The look follows shapes alone where the
    network allows it, so that its cost does not depend on the size of the image. A segmentor that predicts whole images
    is looked at with another size, too.

    Args:
        segmentor: Config of the segmentor.
        size: (height, width) of the image.

    Returns:
        The channels.

    Raises:
        ValueError: The segmentor is to predict whole images, and takes one size only.
    """
    height, width = size
    try:
        parts = _build_parts(segmentor, "meta")
        channels = _look(parts, size)
    except _FAILURES:
        # A network that looks at its values, which a tensor of shapes alone does not have.
        parts = _build_parts(segmentor, "cpu")
        channels = _look(parts, size)
    if (segmentor.get("test_cfg") or {}).get("mode", "whole") == "whole":
        try:
            _channels_of(parts, (height, 2 * width))
        except _FAILURES as error:
            stride = (height * 2 // 3, width * 2 // 3)
            raise ValueError(
                f"{class_of(segmentor['backbone']).__name__} takes images of {height} x {width} and none of {height} "
                f"x {2 * width} ({error}), so it cannot predict whole images of any size: set model.segmentor.test_cfg="
                f"dict(mode='slide', crop_size={(height, width)}, stride={stride})."
            ) from error
    return channels


def complete_input(head: Any, channels: Sequence[int]) -> None:
    """Fill in the ``in_channels`` of a head from its ``in_index``, of several maps a list.

    Args:
        head: Config of the head, changed in place.
        channels: Channels of the feature maps.

    Raises:
        ValueError: There is no such map, or it has other channels.
    """
    index = head.get("in_index", -1)
    several = isinstance(index, list | tuple)
    if not _takes(head, "in_channels"):
        return
    if not several and isinstance(head.get("in_channels"), list | tuple):
        # A head that chooses its maps by itself.
        return
    wanted = list(index) if several else [index]
    if any(not -len(channels) <= each < len(channels) for each in wanted):
        raise ValueError(
            f"{head['type']} reads feature map {index}, the segmentor has {len(channels)}, of {list(channels)} "
            "channels: correct its in_index."
        )
    found = [channels[each] for each in wanted]
    _fill_in(head, "in_channels", found if several else found[0], f"feature map {index} has")


def _build_parts(segmentor: Mapping[str, Any], device: str) -> list[Any]:
    """Backbone and neck, as they predict."""
    with torch.random.fork_rng(devices=[]):
        parts = [MODELS.build(copy.deepcopy(dict(segmentor["backbone"])))]
        if segmentor.get("neck"):
            parts.append(MODELS.build(copy.deepcopy(dict(segmentor["neck"]))))
    for part in parts:
        part.to(device)
        # MMSegmentation's backbones return nothing from it.
        part.eval()
    return parts


def _look(parts: Sequence[Any], size: Sequence[int]) -> MapChannels:
    """Channels of the feature maps, as they predict and as they train."""
    predicting = _channels_of(parts, size)
    try:
        # What the parts return is as in training; their layers take a batch of one image.
        for part in parts:
            part.training = True
        return MapChannels(predicting, _channels_of(parts, size))
    finally:
        for part in parts:
            part.training = False


@torch.no_grad()
def _channels_of(parts: Sequence[Any], size: Sequence[int]) -> list[int]:
    """Channels of the feature maps of one black image."""
    device = next(parts[0].parameters()).device
    with torch.random.fork_rng(devices=[]):
        maps: Any = torch.zeros(1, 3, *size, device=device)
        for part in parts:
            maps = part(maps)
    maps = FeatureMaps(maps)
    return [int(choose_map(maps, index).shape[1]) for index in range(len(maps))]


def _fill_in(cfg: Any, name: str, value: Any, reason: str) -> None:
    """Set an entry, or check the one that is there."""
    given = cfg.setdefault(name, value)
    given, wanted = (list(v) if isinstance(v, list | tuple) else v for v in (given, value))
    if given != wanted:
        raise ValueError(
            f"{cfg['type']} has {name}={given}, but {reason} {wanted}: leave {name} out, or correct it."
        )


def _takes(cfg: Mapping[str, Any], name: str) -> bool:
    """Whether a registered type, or one that it is derived from, has an argument."""
    built = class_of(cfg)
    return built is not None and any(
        name in inspect.signature(base.__init__).parameters for base in built.__mro__[:-1]
    )
