"""Fills in what a config of an adaptation leaves out: numbers of classes, channels, class weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.models.feature_maps import DECODER
from mmdrsl.models.losses.segmentation_losses import WeightedCrossEntropyLoss

# Channels do not depend on the size; every stage of a network has some places left of this one.
PROBE_SIZE = (256, 256)


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


def complete_segmentor(
    segmentor: Mapping[str, Any],
    *,
    num_classes: int | None,
    class_weight: Sequence[float] | None,
    crop_size: Sequence[int] | None,
) -> tuple[ConfigDict, list[int]]:
    """Fill in ``num_classes``, ``in_channels`` and class weights of all heads, and check those that are there.

    The windows of an `HRDASegmentor` become half as high and wide as the crops.

    Args:
        segmentor: Config of the segmentor; it stays as it is.
        num_classes: C; None leaves the heads' own.
        class_weight: Weight per class for every cross entropy that has none; None for none.
        crop_size: (height, width) of the image that backbone and neck are looked at with.

    Returns:
        The completed config, and the channels of the feature maps.

    Raises:
        ValueError: A head has another number of classes or of channels, or there are more or fewer class weights.
    """
    if num_classes is not None and class_weight is not None and len(class_weight) != num_classes:
        raise ValueError(
            f"class_weight has {len(class_weight)} weights, but the label space of the model has {num_classes} "
            "classes: give one weight per class."
        )
    cfg = ConfigDict(copy.deepcopy(dict(segmentor)))
    size = crop_size or PROBE_SIZE
    if _takes(cfg, "detail_size"):
        cfg.setdefault("detail_size", [side // 2 for side in size])
    channels = feature_channels(cfg, size)
    for head in heads_of(cfg):
        complete_head(head, num_classes=num_classes, class_weight=class_weight)
        complete_input(head, channels)
    return cfg, channels


def complete_head(
    head: Any, *, num_classes: int | None, class_weight: Sequence[float] | None = None
) -> None:
    """Fill in the number of classes and the class weights of a head.

    Args:
        head: Config of a decode head, changed in place.
        num_classes: C; None leaves the head's own.
        class_weight: Weight per class for its cross entropy where that has none. MMSegmentation's own then divides by
            all pixels, ignored ones too (``avg_non_ignore=False``), the only way in which it takes weights.

    Raises:
        ValueError: The head has another number of classes, or the weights reach no loss.
    """
    if num_classes is not None and _takes(head, "num_classes"):
        _fill_in(head, "num_classes", num_classes, "the label space of the model has")
    if class_weight is None or not _takes(head, "loss_decode"):
        return
    # MMSegmentation's own default.
    losses = head.setdefault("loss_decode", ConfigDict(type="CrossEntropyLoss"))
    losses = losses if isinstance(losses, list | tuple) else [losses]
    for loss in losses:
        if "class_weight" in loss:
            continue
        kind = _class_of(loss)
        if issubclass(kind, CrossEntropyLoss):
            # MMSegmentation's cross entropy takes class weights only without avg_non_ignore.
            loss.update(class_weight=list(class_weight), avg_non_ignore=False)
        elif issubclass(kind, WeightedCrossEntropyLoss):
            loss.update(class_weight=list(class_weight))
    if not any("class_weight" in loss for loss in losses):
        raise ValueError(
            f"model.class_weight reaches no loss of {head['type']}: {[loss['type'] for loss in losses]} are no cross "
            "entropy. Give one of them class_weight, or set model.class_weight=None."
        )


def complete_further_head(
    cfg: Mapping[str, Any],
    *,
    segmentor: Any,
    channels: Sequence[int],
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
        complete_input(cfg, channels)
        return cfg
    classifier = getattr(segmentor.decode_head, "conv_seg", None)
    if classifier is not None:
        _fill_in(cfg, "in_channels", classifier.in_channels, "the decode head's classifier reads")
    elif "in_channels" not in cfg:
        raise ValueError(
            f"{cfg['type']} reads what the classifier of {type(segmentor.decode_head).__name__} reads, and that has no "
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


def feature_channels(segmentor: Mapping[str, Any], size: Sequence[int]) -> list[int]:
    """Channels of the feature maps of a segmentor's backbone and neck, from a look at one image.

    The two are built aside: the random stream goes on as if nothing had been. The look follows shapes alone where the
    network allows it, so that its cost does not depend on the size of the image.

    Args:
        segmentor: Config of the segmentor.
        size: (height, width) of the image.

    Returns:
        One number per feature map.
    """
    try:
        maps = _look(segmentor, size, device="meta")
    except (RuntimeError, NotImplementedError, AttributeError, TypeError):
        # A network that looks at its values, which a tensor of shapes alone does not have.
        maps = _look(segmentor, size, device="cpu")
    return [int(each.shape[1]) for each in maps]


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


def _look(segmentor: Mapping[str, Any], size: Sequence[int], *, device: str) -> Sequence[Tensor]:
    """Feature maps of one black image."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        parts = [MODELS.build(copy.deepcopy(dict(segmentor["backbone"])))]
        if segmentor.get("neck"):
            parts.append(MODELS.build(copy.deepcopy(dict(segmentor["neck"]))))
        maps: Any = torch.zeros(1, 3, *size, device=device)
        for part in parts:
            part.to(device)
            # MMSegmentation's backbones return nothing from it.
            part.eval()
            maps = part(maps)
    return maps if isinstance(maps, list | tuple) else [maps]


def _fill_in(cfg: Any, name: str, value: Any, reason: str) -> None:
    """Set an entry, or check the one that is there."""
    given = cfg.setdefault(name, value)
    given, wanted = (list(v) if isinstance(v, list | tuple) else v for v in (given, value))
    if given != wanted:
        raise ValueError(
            f"{cfg['type']} has {name}={given}, but {reason} {wanted}: leave {name} out, or correct it."
        )


def _class_of(cfg: Mapping[str, Any]) -> Any:
    return MODELS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]


def _takes(cfg: Mapping[str, Any], name: str) -> bool:
    """Whether a registered type, or one that it is derived from, has an argument."""
    built = _class_of(cfg)
    return built is not None and any(
        name in inspect.signature(base.__init__).parameters for base in built.__mro__[:-1]
    )
