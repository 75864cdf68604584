"""Takes the model of a stock MMSegmentation config into an adaptation."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mmseg
from mmengine.config import Config

from mmdrsl.models.segmentors.completion import learns_classes

# A multiple of the stride of every backbone of MMSegmentation.
SIZE_DIVISOR = 32
ZOO = Path(mmseg.__file__).parent / ".mim" / "configs"


def stock_model(config: str) -> dict[str, Any]:
    """The ``model`` of a stock config, as the segmentor of a `UDASegmentor`.

    In a config it stands beside a pair and a method, see docs/models.md. The images are normalized as the stock config
    says. Numbers of classes and class weights are left to the pair, and SyncBN is BN, which runs on any device; on
    several GPUs the runner setting ``sync_bn="torch"`` converts it back.

    Args:
        config: A file, or the name of one of MMSegmentation's, such as
            ``mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py``.

    Returns:
        ``type``, ``data_preprocessor`` and ``segmentor`` for ``model`` of a config.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: The config has no model.
    """
    scope, _, name = config.partition("::")
    cfg = Config.fromfile(ZOO / name if scope == "mmseg" and name else config)
    if not isinstance(cfg.get("model"), dict):
        raise ValueError(f"{config} has no model: give a stock config of a segmentor.")
    segmentor = copy.deepcopy(cfg.model.to_dict())
    given = segmentor.pop("data_preprocessor", None) or {}
    preprocessor = {
        key: given[key]
        for key in ("mean", "std", "bgr_to_rgb", "rgb_to_bgr", "pad_val", "seg_pad_val")
        if key in given
    }
    return dict(
        type="UDASegmentor",
        data_preprocessor=dict(preprocessor, type="UDADataPreprocessor", size_divisor=SIZE_DIVISOR),
        segmentor=_adapted(segmentor),
    )


def _adapted(part: Any) -> Any:
    """The same config without what the pair says, and without SyncBN."""
    if isinstance(part, list | tuple):
        return type(part)(_adapted(each) for each in part)
    if not isinstance(part, dict):
        return part
    left_out = ("num_classes", "class_weight") if learns_classes(part) else ()
    kept = {key: _adapted(value) for key, value in part.items() if key not in left_out}
    if kept.get("type") == "SyncBN":
        kept["type"] = "BN"
    return kept
