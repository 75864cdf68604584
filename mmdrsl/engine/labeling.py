"""Sets a labeling up from a training config, for tools that label outside training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import build_from_cfg
from mmseg.registry import DATASETS, MODELS
from torch import nn

from mmdrsl.checkpoint_weights import load_weights, weights_of
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.datasets.class_names import check_same_classes, classes_of_checkpoint, classes_of_data
from mmdrsl.datasets.unlabeled import WHOLE_IMAGE_PIPELINE, UnlabelledDataset
from mmdrsl.engine.bn_statistics import check_sample, mix_target_statistics
from mmdrsl.engine.hooks.mean_teacher_hook import AVERAGE
from mmdrsl.models.segmentors.export import has_teacher
from mmdrsl.pseudo_labels.labeler import PseudoLabeler


@dataclass
class Labeling:
    """Everything that a labeling needs.

    Attributes:
        model: The model in evaluation mode, on its device.
        networks: What predicts: segmentor and heads, of the student or of the teacher.
        dataset: The target images, with the labeler's pipeline.
        labeler: The labeler as the config's `SelfTrainingHook` has it.
        num_workers: Loader processes that the hook uses.
        of_teacher: Whether the networks are the teacher's.
    """

    model: Any
    networks: Any
    dataset: UnlabelledDataset
    labeler: PseudoLabeler
    num_workers: int
    of_teacher: bool


def build_labeling(
    cfg: Config,
    *,
    checkpoint: str | None = None,
    portion: float | None = None,
    teacher: bool | None = None,
) -> Labeling:
    """Build model, target dataset and labeler of a self-training config.

    Args:
        cfg: Config with a `UDASegmentor`, a target dataset and a `SelfTrainingHook`.
        checkpoint: Checkpoint to load; None keeps random weights.
        portion: Share of pixels to label per predicted class; None takes that of the last round with labels.
        teacher: Whether to predict with the teacher that the checkpoint holds; None does as the hook's `label_with`
            says, where the checkpoint holds one.

    Returns:
        The labeling.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The config lacks one of its parts, the checkpoint holds no teacher that was updated, or lacks
            weights.
    """
    hook = cfg.get("default_hooks", {}).get("self_training")
    target = cfg.train_dataloader.dataset.get("target")
    if hook is None or target is None or cfg.model.type != "UDASegmentor":
        raise ValueError(
            "Expected a config with model.type UDASegmentor, default_hooks.self_training and "
            f"train_dataloader.dataset.target; found the model {cfg.model.type}, the hooks "
            f"{sorted(cfg.get('default_hooks', {}))} and {'a' if target else 'no'} target."
        )
    if portion is None:
        portions = [each.get("portion") for each in hook.rounds]
        portion = portions[-1] if portions else None
    model = MODELS.build(cfg.model)
    loaded = {} if checkpoint is None else read_checkpoint(checkpoint)
    weights = None if checkpoint is None else weights_of(loaded, checkpoint)
    holds_teacher = weights is not None and has_teacher(weights)
    if teacher and not holds_teacher:
        raise ValueError(
            f"{checkpoint or 'a network of random weights'} holds no teacher that was updated by a "
            "MeanTeacherHook: leave --teacher out, or give a checkpoint of a run that keeps one."
        )
    if teacher is None:
        teacher = holds_teacher and hook.get("label_with") == "teacher"
    if teacher:
        model.add_teacher(AVERAGE)
    pipeline = list(hook.get("pipeline") or WHOLE_IMAGE_PIPELINE)
    labeler = PseudoLabeler(portion=portion, pipeline=pipeline, **(hook.get("labeler") or {}))
    dataset = build_from_cfg(target, DATASETS)
    if weights is not None:
        check_same_classes(
            classes_of_checkpoint(loaded),
            classes_of_data(dataset),
            of=(str(checkpoint), "the target"),
            remedy="Give the checkpoint of a training with these classes, or the target its label_space.",
        )
        networks = model.teacher.module if teacher else model.networks()
        needed = _names_of(labeler.predictor(networks), model)
        load_weights(
            model,
            weights,
            source=str(checkpoint),
            used=needed.__contains__,
        )
    # A teacher without steps is the student, so that this comes after its weights.
    networks = model.networks(of_teacher=teacher)
    check_same_classes(
        model.classes,
        classes_of_data(dataset),
        of=("model.label_space", "the target"),
        remedy="Give both the same label_space.",
    )
    dataset.pipeline = Compose(pipeline)
    return Labeling(
        model=model.to(torch.device(get_device())).eval(),
        networks=networks,
        dataset=dataset,
        labeler=labeler,
        num_workers=hook.get("num_workers", 0),
        of_teacher=teacher,
    )


def use_target_statistics(
    job: Labeling, weight: float, *, num_images: int = 200, batch_size: int = 8
) -> None:
    """Let a labeling predict under statistics of batch normalization in which the target has a weight.

    Args:
        job: The labeling; its networks are changed.
        weight: Weight of the target, in (0, 1]; the rest is what the layers hold.
        num_images: Target images to take, >= 2, evenly spaced over the dataset.
        batch_size: Images per forward pass, >= 2.

    Raises:
        ValueError: A number is outside its range, the target has a single image, or the network has no batch
            normalization that can take statistics.
    """
    check_sample(target_weight=weight, num_images=num_images, batch_size=batch_size)
    mix_target_statistics(
        job.model,
        job.networks,
        job.dataset,
        weight=weight,
        num_images=num_images,
        batch_size=batch_size,
        pipeline=job.labeler.pipeline,
    )


def _names_of(needed: nn.Module, model: nn.Module) -> set[str]:
    """Names in the model of the weights of what labels."""
    wanted = {
        id(value)
        for name, value in needed.state_dict(keep_vars=True).items()
        # A segmentor's auxiliary heads label only where they are the policy's second head.
        if "auxiliary_head." not in name
    }
    return {name for name, value in model.state_dict(keep_vars=True).items() if id(value) in wanted}
