"""From the checkpoint of an adaptation to a plain MMSegmentation checkpoint and config."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor

from mmdrsl.atomic_files import replacing, write_atomically
from mmdrsl.checkpoint_weights import (
    SEGMENTOR_PREFIX,
    TEACHER_PREFIX,
    load_weights,
    predicts,
    weights_of,
)
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.class_names import (
    check_same_classes,
    classes_of_checkpoint,
    palette_of_checkpoint,
)
from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.models.backbones.adapters import merged
from mmdrsl.models.segmentors.completion import heads_of


def evaluates_teacher(cfg: Config) -> bool:
    """Whether a config evaluates the averaged copy of its `MeanTeacherHook` instead of the trained network."""
    hooks = [*cfg.get("default_hooks", {}).values(), *cfg.get("custom_hooks", [])]
    return any(
        hook is not None and hook["type"] == "MeanTeacherHook" and hook.get("evaluate", False)
        for hook in hooks
    )


def has_teacher(state: Mapping[str, Tensor]) -> bool:
    """Whether the weights of a training checkpoint hold a teacher that was updated.

    Before its first update a teacher is the student; its own copy is untrained.
    """
    return int(state.get(f"{TEACHER_PREFIX}steps", 0)) > 0


def segmentor_weights(
    state: Mapping[str, Tensor], *, teacher: bool, source: str | Path
) -> OrderedDict[str, Tensor]:
    """Take the wrapped segmentor out of an adaptation's weights.

    Args:
        state: Weights of a `UDASegmentor` by name.
        teacher: Take the averaged copy that `MeanTeacherHook` keeps.
        source: The checkpoint's file, for messages.

    Returns:
        Weights by the names that a plain segmentor gives them.

    Raises:
        ValueError: There are no weights of a wrapped segmentor, or of its teacher.
    """
    if teacher and not has_teacher(state):
        raise ValueError(
            f"{source} holds no teacher that a MeanTeacherHook has updated: take the trained network, or a later "
            "checkpoint."
        )
    prefix = f"{TEACHER_PREFIX}module.{SEGMENTOR_PREFIX}" if teacher else SEGMENTOR_PREFIX
    weights = OrderedDict(
        (key[len(prefix) :], value) for key, value in state.items() if key.startswith(prefix)
    )
    if not weights:
        raise ValueError(
            f"{source} holds no weights below {prefix!r}; expected a checkpoint of a UDASegmentor"
            f"{' that was trained with a MeanTeacherHook' if teacher else ''}. A plain checkpoint needs no export."
        )
    return weights


def class_names(
    cfg: Config, loaded: Mapping[str, Any], *, num_classes: int, source: str | Path
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Names and colors of a network's classes: those of its label space, else those that the checkpoint notes.

    Args:
        cfg: Config of a training, or an exported one.
        loaded: Content of a checkpoint.
        num_classes: How many classes the network predicts.
        source: The checkpoint's file, for messages.

    Returns:
        Names, and a color (red, green, blue, 0..255) for each.

    Raises:
        ValueError: There are none, or more or fewer, or the label space has others than the checkpoint.
    """
    classes, palette = classes_of_checkpoint(loaded) or (), palette_of_checkpoint(loaded)
    if cfg.model.get("label_space") is not None:
        space = get_label_space(cfg.model.label_space)
        check_same_classes(
            classes or None,
            space.classes,
            of=(str(source), "the config's model.label_space"),
            remedy="Give the config that the checkpoint was trained with.",
        )
        classes, palette = space.classes, space.palette
    if not len(classes) == len(palette) == num_classes:
        raise ValueError(
            f"The model predicts {num_classes} classes; found {len(classes)} names and {len(palette)} colors. "
            "Give a config with model.label_space, or a checkpoint whose meta.dataset_meta has classes and palette, as "
            "a training and mmdrsl export write them."
        )
    return classes, palette


def _num_classes(cfg: Config) -> int:
    """Classes of the label space, else those of the decode head, the last one of several."""
    if cfg.model.get("label_space") is not None:
        return len(get_label_space(cfg.model.label_space).classes)
    return int(list(heads_of({"decode_head": cfg.model.segmentor.decode_head}))[-1]["num_classes"])


def exports_teacher(cfg: Config, state: Mapping[str, Tensor], teacher: bool | None) -> bool:
    """Say which network an export takes.

    Args:
        cfg: Config of the adaptation.
        state: Weights of its checkpoint.
        teacher: What was asked for; None takes the one that the config evaluates.

    Returns:
        True for the averaged copy, False for the trained network.
    """
    return evaluates_teacher(cfg) and has_teacher(state) if teacher is None else teacher


def export_segmentor(
    cfg: Config, checkpoint: Path, out: Path, *, teacher: bool | None = None
) -> tuple[Path, Path]:
    """Write ``config.py`` and ``segmentor.pth`` (tensors and plain types only).

    Args:
        cfg: Config of the adaptation.
        checkpoint: Its training checkpoint.
        out: Folder to write to.
        teacher: Export the averaged copy that `MeanTeacherHook` keeps (True) or the trained network (False); None takes
            the one that the config evaluates.

    Returns:
        Paths of the config and of the checkpoint.

    Raises:
        DiskFullError: The disk is full; what the files held before is still there.
        FileNotFoundError: There is no such checkpoint.
        ValueError: The file is no checkpoint, or holds no weights of a wrapped segmentor, or of its teacher, or those
            of another network; classes are not named, or are others; the config has no test pipeline.
    """
    # It reads test pipelines as predictions do, and those load their networks by this module.
    from mmdrsl.export.stock_config import stock_config

    loaded = read_checkpoint(checkpoint)
    state = weights_of(loaded, checkpoint)
    teacher = exports_teacher(cfg, state, teacher)
    weights = merged(segmentor_weights(state, teacher=teacher, source=checkpoint))
    # Of a slice of a larger storage, torch.save would write the whole.
    weights = OrderedDict((name, value.clone()) for name, value in weights.items())
    classes, palette = class_names(cfg, loaded, num_classes=_num_classes(cfg), source=checkpoint)
    stock = stock_config(cfg, classes=classes, palette=palette)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    load_weights(MODELS.build(stock.cfg.model), weights, source=checkpoint, used=predicts)
    out.mkdir(parents=True, exist_ok=True)
    # A reader of the checkpoint may allow plain types alone.
    meta = {"dataset_meta": {"classes": list(classes), "palette": [list(c) for c in palette]}}
    with replacing(out / "segmentor.pth") as temporary:
        torch.save({"state_dict": weights, "meta": meta}, temporary)
    write_atomically(out / "config.py", stock.text())
    return out / "config.py", out / "segmentor.pth"
