"""Which segmentors adapt; others are refused when the model is built, by name and with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors.depth_estimator import DepthEstimator
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.registry import MODELS

from mmdrsl.models.feature_maps import decode_heads


def class_of(cfg: Mapping[str, Any]) -> Any:
    """The class that a config names, or None where it is not registered."""
    return MODELS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]


def check_kind(segmentor: Mapping[str, Any]) -> None:
    """Refuse a segmentor whose loss or scores cannot be had for each domain from one pass of both.

    Args:
        segmentor: Its config; a type that is not registered is MMEngine's to report.

    Raises:
        TypeError: It has no backbone with decode heads, estimates depth, or has a decode head that is no
            `BaseDecodeHead` or takes its loss from more than its output.
    """
    kind = class_of(segmentor)
    if kind is None:
        return
    if issubclass(kind, DepthEstimator):
        raise _refusal(kind, "it estimates depth, not classes")
    if not issubclass(kind, EncoderDecoder):
        raise _refusal(
            kind,
            "it does not consist of one backbone and decode heads on its feature maps, as EncoderDecoder and "
            "CascadeEncoderDecoder do",
        )
    entry = segmentor["decode_head"]
    for index, head in enumerate(entry if isinstance(entry, list | tuple) else [entry]):
        kind = class_of(head)
        if kind is None:
            continue
        if not issubclass(kind, BaseDecodeHead):
            raise _refusal(
                kind,
                "it is no BaseDecodeHead with one score per class and pixel, which pseudo labels and losses of an "
                "adaptation need; heads that classify masks have none",
            )
        if kind.loss not in (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss):
            raise _refusal(
                kind,
                "it has a loss() of its own, and an adaptation runs forward() on both domains together, then "
                "loss_by_feat() on each domain's share of the output",
            )
        if index > 0 and not issubclass(kind, BaseCascadeDecodeHead):
            raise _refusal(
                kind,
                "it follows another decode head and is no BaseCascadeDecodeHead, which reads the scores before it",
            )


def _refusal(kind: type, reason: str) -> TypeError:
    return TypeError(f"{kind.__name__} cannot be adapted: {reason} (docs/models.md).")


def check_scores(segmentor: Any) -> None:
    """Refuse decode heads without one score for each class.

    Args:
        segmentor: The built segmentor.

    Raises:
        ValueError: A head has another number of outputs than classes, or a single one.
    """
    for head in decode_heads(segmentor):
        if head.out_channels != head.num_classes or head.num_classes < 2:
            raise ValueError(
                f"{type(head).__name__} has out_channels={head.out_channels} and num_classes={head.num_classes}; "
                "pseudo labels and losses of an adaptation need one score for each of at least two classes: leave "
                "out_channels and threshold out, and train two classes by dict(type='CrossEntropyLoss') without "
                "use_sigmoid."
            )
