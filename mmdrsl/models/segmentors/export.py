"""From the checkpoint of an adaptation to a plain MMSegmentation checkpoint and config."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from mmdrsl.atomic_files import replacing, write_atomically
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.label_spaces import get_label_space
from mmdrsl.models.segmentors.completion import complete_segmentor
from mmdrsl.models.segmentors.uda_segmentor import SEGMENTOR_PREFIX, TEACHER_PREFIX

TEST_KEYS = (
    "custom_imports",
    "default_scope",
    "env_cfg",
    "visualizer",
    "log_processor",
    "log_level",
    "val_dataloader",
    "val_evaluator",
    "val_cfg",
    "test_dataloader",
    "test_evaluator",
    "test_cfg",
    "test_pipeline",
    "tta_model",
    "tta_pipeline",
)
STOCK_HOOKS = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)


def plain_config(cfg: Config) -> Config:
    """Config of the wrapped segmentor for testing, without anything of the adaptation.

    Args:
        cfg: Config of an adaptation, with ``model.type`` UDASegmentor.

    Returns:
        A config for MMSegmentation's own ``tools/test.py``. It imports mmdrsl only for its dataset, metric and SegNet.

    Raises:
        ValueError: The config's model is not a UDASegmentor.
    """
    if cfg.model.type != "UDASegmentor":
        raise ValueError(
            f"Expected a config whose model.type is UDASegmentor, found {cfg.model.type}."
        )
    preprocessor = dict(cfg.model.data_preprocessor, type="SegDataPreProcessor")
    space = cfg.model.get("label_space")
    # What the adaptation's config leaves out, a plain segmentor's has to say.
    segmentor, _ = complete_segmentor(
        cfg.model.segmentor,
        num_classes=None if space is None else len(get_label_space(space).classes),
        class_weight=None,
        crop_size=cfg.model.get("crop_size"),
    )
    model = dict(segmentor, data_preprocessor=preprocessor)
    model["backbone"] = {
        key: value for key, value in model["backbone"].items() if key != "init_cfg"
    }
    kept = {key: cfg[key] for key in TEST_KEYS if key in cfg}
    return Config(dict(kept, default_hooks=STOCK_HOOKS, model=model, load_from=None, resume=False))


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
        ValueError: The file is no checkpoint, or holds no weights of a wrapped segmentor, or of its teacher.
    """
    loaded = read_checkpoint(checkpoint)
    state = loaded.get("state_dict", {})
    if teacher is None:
        teacher = evaluates_teacher(cfg) and has_teacher(state)
    weights = segmentor_weights(state, teacher=teacher, source=checkpoint)
    # Of a slice of a larger storage, torch.save would write the whole.
    weights = OrderedDict((name, value.clone()) for name, value in weights.items())
    meta = loaded.get("meta", {}).get("dataset_meta", {})
    dataset_meta = {
        "classes": [str(name) for name in meta.get("classes", ())],
        "palette": [[int(value) for value in color] for color in meta.get("palette", ())],
    }
    out.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": weights, "meta": {"dataset_meta": dataset_meta}}
    with replacing(out / "segmentor.pth") as temporary:
        torch.save(content, temporary)
    write_atomically(out / "config.py", plain_config(cfg).pretty_text)
    return out / "config.py", out / "segmentor.pth"
