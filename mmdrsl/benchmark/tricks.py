"""Tricks that every method may be given, so that a second table compares methods with them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdrsl.benchmark.methods import trains_on_target_labels
from mmdrsl.benchmark.translations import use_translations
from mmdrsl.benchmark.warmup import needs_teacher, warmup_iterations

TRICKS = {
    "rare_class_sampling": "source images drawn by rare classes (DAFormer)",
    "target_augmentation": "blur, noise and cut-out on the target images that the student sees",
    "mean_teacher": "an averaged network from the end of the warm-up on, which labels and predicts",
    "target_bn": "the target mixed into the statistics that label and predict; labels without upper bound",
    "multi_scale_labels": "labels from three scales of every image, mirrored too",
    "undo_class_weights": "labels from probabilities without the class weights of the training",
    "translated_source": "the translated source images in place of the originals",
}
"""Tricks by name, with what they do; their settings are in ``configs/_base_/tricks.py``."""

# Entries of a labeler and of a teacher that tricks decide.
_OF_LABELS = ("scales", "undo_class_weights")
_TRICKS_OF_LABELS = {"multi_scale_labels", "undo_class_weights"}


def check_tricks(names: Sequence[str]) -> tuple[str, ...]:
    """Sort the names of tricks.

    Args:
        names: Keys of `TRICKS`.

    Returns:
        The same without repetition, in the order of `TRICKS`.

    Raises:
        ValueError: A name is unknown.
    """
    unknown = sorted(set(names) - set(TRICKS))
    if unknown:
        raise ValueError(f"unknown tricks {unknown}: use some of {list(TRICKS)}.")
    return tuple(name for name in TRICKS if name in names)


def use_tricks(
    cfg: Config,
    names: Sequence[str],
    *,
    configs: Path,
    translations: Path | None,
    rare_class_pixels: int,
) -> None:
    """Give a run the tricks, and take from it those of them that its config has by default.

    Without ``mean_teacher`` a teacher that only labels and predicts goes; one that a method cannot do without begins
    where the warm-up ends and does not predict. Without ``multi_scale_labels`` images are labeled at one scale. Tricks
    of labels are for those of rounds and for those that a teacher makes of every batch.

    Args:
        cfg: Config of a run, changed in place.
        names: Keys of `TRICKS`.
        configs: Folder of the configs.
        translations: Folder of the translated set; needed by ``translated_source``.
        rare_class_pixels: Pixels of a class from which on an image is drawn for it.

    Raises:
        ValueError: There is no folder of the translated set, the statistics are the target's already, there is no
            place for the augmentation, or a method's teacher is not where the tricks of labels look for it.
    """
    settings = Config.fromfile(configs / "_base_/tricks.py")
    if "target_bn" in names:
        check_source_statistics(cfg)
    _set_teacher(cfg, settings, evaluate="mean_teacher" in names)
    if "rare_class_sampling" in names:
        cfg.train_dataloader.sampler.rare_class_sampling = dict(min_pixels=rare_class_pixels)
    if "target_augmentation" in names and "target" in cfg.train_dataloader.dataset:
        _add_augmentation(cfg, settings.target_augmentation)
    if "translated_source" in names and not trains_on_target_labels(cfg):
        use_translations(cfg, translations)
    rounds: Any = cfg.default_hooks.get("self_training") or {}
    for labeler in (rounds.get("labeler"), cfg.default_hooks.get("teacher")):
        for entry in _OF_LABELS:
            (labeler or {}).pop(entry, None)
    chosen: dict[str, Any] = {}
    if "multi_scale_labels" in names:
        chosen.update(scales=settings.multi_scale_labels, flip=True)
    if "undo_class_weights" in names:
        chosen.update(undo_class_weights=True)
    if chosen and needs_teacher(cfg):
        if cfg.default_hooks.get("teacher") is None:
            raise ValueError(
                f"the tricks {sorted(set(names) & _TRICKS_OF_LABELS)} are for the teacher that labels batches, and a "
                "method has none in default_hooks: name its MeanTeacherHook default_hooks.teacher."
            )
        cfg.default_hooks.teacher.update(chosen)
    if not labels_rounds(cfg):
        return
    if rounds.get("labeler") is None and (chosen or "target_bn" in names):
        rounds.labeler = {}
    if chosen:
        rounds.labeler.update(chosen)
    if "target_bn" in names:
        hook: dict[str, Any] = dict(type="AdaBNHook", target_weight=settings.target_bn)
        if "pipeline" in rounds:
            hook["pipeline"] = rounds.pipeline
        # A network that is surer everywhere would pass an upper bound on the easy classes alone.
        policy = dict(highest_threshold=1.0)
        cfg.merge_from_dict(
            {"default_hooks.adabn": hook, "default_hooks.self_training.labeler.policy": policy}
        )


def check_source_statistics(cfg: Config) -> None:
    """Refuse to mix the target into statistics that are the target's already.

    Args:
        cfg: Config of a method.

    Raises:
        ValueError: The config takes them from the target.
    """
    if cfg.model.get("bn_mode") == "domain_specific" or "adabn" in cfg.default_hooks:
        raise ValueError(
            "the target is to be mixed into the statistics of batch normalization, but configs of this pair take the "
            "target's alone (model.bn_mode='domain_specific', default_hooks.adabn): leave --target-bn and the trick "
            "target_bn out."
        )


def prediction_weight(cfg: Config, names: Sequence[str], *, configs: Path) -> float | None:
    """Weight of the target that an evaluation has to mix into the statistics of a checkpoint.

    Args:
        cfg: Config of a run that `use_tricks` has changed.
        names: Keys of `TRICKS`.
        configs: Folder of the configs.

    Returns:
        The weight; None without the trick, and where a checkpoint holds it, since its run labeled rounds under it.
    """
    if "target_bn" not in names or labels_rounds(cfg):
        return None
    return float(Config.fromfile(configs / "_base_/tricks.py").target_bn)


def labels_rounds(cfg: Config) -> bool:
    """Whether a run labels target images where its rounds begin.

    Args:
        cfg: Config of a run.
    """
    rounds = cfg.default_hooks.get("self_training")
    return rounds is not None and not rounds.get("online", False)


def _set_teacher(cfg: Config, settings: Config, *, evaluate: bool) -> None:
    """The same teacher for every method, or none but where a term reads it."""
    hooks = cfg.default_hooks
    rounds = hooks.get("self_training")
    # MMEngine leaves a hook out that is None.
    if evaluate and hooks.get("teacher") is None:
        hooks.teacher = copy.deepcopy(settings.mean_teacher)
    if not evaluate and not needs_teacher(cfg):
        hooks.pop("teacher", None)
    if hooks.get("teacher") is not None:
        hooks.teacher.begin = warmup_iterations(cfg)
        hooks.teacher.evaluate = evaluate
    if rounds is not None:
        rounds.label_with = "teacher" if evaluate else "student"


def _add_augmentation(cfg: Config, transforms: list[dict]) -> None:
    """Put transforms into the target's pipeline after the geometric ones, once."""
    pipeline = cfg.train_dataloader.dataset.target.pipeline
    added = {entry["type"] for entry in transforms}
    kept = [entry for entry in pipeline if entry["type"] not in added]
    flips = [index for index, entry in enumerate(kept) if entry["type"] == "RandomFlip"]
    if not flips:
        raise ValueError(
            "the trick target_augmentation comes after RandomFlip, and the target's pipeline of a method has "
            f"{[entry['type'] for entry in pipeline]}: add RandomFlip to it."
        )
    cfg.train_dataloader.dataset.target.pipeline = [
        *kept[: flips[-1] + 1],
        *copy.deepcopy(transforms),
        *kept[flips[-1] + 1 :],
    ]
