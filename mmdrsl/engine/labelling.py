"""Sets a labelling up from a training config, for tools that label outside training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import build_from_cfg
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS

from ..datasets.unlabelled import WHOLE_IMAGE_PIPELINE, UnlabelledDataset
from ..self_training import PseudoLabeller
from .hooks.teacher_hook import AVERAGE


@dataclass
class Labelling:
    """Everything that a labelling needs.

    Attributes:
        model: The model in evaluation mode, on its device.
        networks: What predicts: segmentor and heads, of the student or of the teacher.
        dataset: The target images, with a pipeline without random transforms.
        labeller: The labeller as the config's `SelfTrainingHook` has it.
        num_workers: Loader processes that the hook uses.
    """

    model: Any
    networks: Any
    dataset: UnlabelledDataset
    labeller: PseudoLabeller
    num_workers: int


def build_labelling(
    cfg: Config,
    *,
    checkpoint: str | None = None,
    portion: float | None = None,
    teacher: bool = False,
) -> Labelling:
    """Build model, target dataset and labeller of a self-training config.

    Args:
        cfg: Config with a `UDASegmentor`, a target dataset and a `SelfTrainingHook`.
        checkpoint: Checkpoint to load; None keeps random weights.
        portion: Share of pixels to label per predicted class; None takes that of the last round.
        teacher: Predict with the teacher that the checkpoint holds.

    Returns:
        The labelling.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The config lacks one of its parts, or the checkpoint holds no teacher that was updated.
    """
    hook = cfg.get("default_hooks", {}).get("self_training")
    target = cfg.train_dataloader.dataset.get("target")
    if hook is None or target is None or cfg.model.type != "UDASegmentor":
        raise ValueError(
            "Expected a config with model.type UDASegmentor, default_hooks.self_training and "
            f"train_dataloader.dataset.target; found the model {cfg.model.type}, the hooks "
            f"{sorted(cfg.get('default_hooks', {}))} and {'a' if target else 'no'} target."
        )
    if portion is None and hook.rounds:
        portion = hook.rounds[-1].get("portion")
    model = MODELS.build(cfg.model)
    if teacher:
        model.add_teacher(AVERAGE)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, map_location="cpu", logger="silent")
    if teacher and model.teacher.steps == 0:
        raise ValueError(f"{checkpoint} holds no teacher that was updated by a TeacherHook.")
    dataset = build_from_cfg(target, DATASETS)
    dataset.pipeline = Compose(list(hook.get("pipeline") or WHOLE_IMAGE_PIPELINE))
    return Labelling(
        model=model.to(torch.device(get_device())).eval(),
        networks=model.networks(of_teacher=teacher),
        dataset=dataset,
        labeller=PseudoLabeller(portion=portion, **hook.get("labeller", {})),
        num_workers=hook.get("num_workers", 0),
    )
