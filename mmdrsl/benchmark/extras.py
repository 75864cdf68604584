"""Extras that every method may be given, so that a second table compares methods with them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdrsl.benchmark.translations import use_translations
from mmdrsl.benchmark.warmup import warmup_iterations

EXTRAS = {
    "rare_classes": "source images drawn by rare classes (DAFormer)",
    "target_noise": "blur, noise and cut-out on the target images that the student sees",
    "teacher": "an averaged network from the end of the warm-up on, which labels and predicts",
    "target_statistics": "a share of the target in the statistics that label and predict; labels without upper bound",
    "label_scales": "labels from three scales of every image",
    "translated": "the translated source images in place of the originals",
}
"""Extras by name, with what they do."""

# Terms whose labels a teacher makes.
_LABELING_TERMS = ("ClassMixTerm",)
TARGET_SHARE = 0.25
"""Share of the target in the statistics of the extra ``target_statistics``."""
LABEL_SCALES = (0.75, 1.0, 1.25)
"""Scales at which a network labels with the extra ``label_scales``."""


def check_extras(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Sort the names of extras.

    Args:
        names: Keys of `EXTRAS`.

    Returns:
        The same without repetition, in the order of `EXTRAS`.

    Raises:
        ValueError: A name is unknown.
    """
    unknown = sorted(set(names) - set(EXTRAS))
    if unknown:
        raise ValueError(f"unknown extras {unknown}: use some of {list(EXTRAS)}.")
    return tuple(name for name in EXTRAS if name in names)


def use_extras(
    cfg: Config,
    names: tuple[str, ...],
    *,
    configs: Path,
    translations: Path | None,
    is_oracle: bool,
    rare_class_pixels: int,
) -> None:
    """Give a run the extras, and take from it those of them that its config has by default.

    Without ``teacher`` a teacher that only labels and predicts goes; one that a method cannot do without (DACS) begins
    where the warm-up ends and does not predict. Without ``label_scales`` rounds are labeled at one scale.

    Args:
        cfg: Config of a run, changed in place.
        names: Keys of `EXTRAS`.
        configs: Folder of the configs.
        translations: Folder of the translated set; needed by ``translated``.
        is_oracle: Whether the run trains on the labeled target, which is not translated.
        rare_class_pixels: Pixels of a class from which on an image is drawn for it.

    Raises:
        ValueError: There is no folder of the translated set, or the statistics are the target's already.
    """
    if "target_statistics" in names:
        check_source_statistics(cfg)
    _set_teacher(cfg, evaluate="teacher" in names, configs=configs)
    if "rare_classes" in names:
        cfg.train_dataloader.sampler.rare_classes = dict(min_pixels=rare_class_pixels)
    if "target_noise" in names and "target" in cfg.train_dataloader.dataset:
        _add_noise(cfg, _self_training_base(configs).strong_noise)
    if "translated" in names and not is_oracle:
        use_translations(cfg, translations)
    rounds: Any = cfg.default_hooks.get("self_training") or {}
    (rounds.get("labeler") or {}).pop("scales", None)
    if "label_scales" in names and _labels_rounds(cfg):
        rounds.labeler.scales = LABEL_SCALES
    if "target_statistics" in names and _labels_rounds(cfg):
        statistics: dict[str, Any] = dict(
            type="AdaBNHook",
            target_share=TARGET_SHARE,
            rest="running",
        )
        if "pipeline" in rounds:
            statistics["pipeline"] = rounds.pipeline
        # A network that is surer everywhere would pass an upper bound on the easy classes alone.
        policy = dict(highest_threshold=1.0)
        cfg.merge_from_dict(
            {
                "default_hooks.normalization": statistics,
                "default_hooks.self_training.labeler.policy": policy,
            }
        )


def check_source_statistics(cfg: Config) -> None:
    """Refuse to mix the target into statistics that are the target's already.

    Args:
        cfg: Config of a method.

    Raises:
        ValueError: The config takes them from the target.
    """
    if cfg.model.get("normalization") == "domain_specific" or "normalization" in cfg.default_hooks:
        raise ValueError(
            "a share of the target is to be mixed into statistics of normalization, but configs of this pair take the "
            "target's alone (model.normalization='domain_specific', default_hooks.normalization): leave --target-statistics "
            "and the extra target_statistics out."
        )


def prediction_share(cfg: Config, names: tuple[str, ...]) -> float | None:
    """Share of the target that an evaluation has to mix into the statistics of a checkpoint.

    Args:
        cfg: Config of a run that `use_extras` has changed.
        names: Keys of `EXTRAS`.

    Returns:
        The share; None without the extra, and where a checkpoint holds it, since its run labeled rounds under it.
    """
    wanted = "target_statistics" in names and not _labels_rounds(cfg)
    return TARGET_SHARE if wanted else None


def _labels_rounds(cfg: Config) -> bool:
    """Whether a run labels target images where its rounds begin."""
    rounds = cfg.default_hooks.get("self_training")
    return rounds is not None and not rounds.get("online", False)


def _self_training_base(configs: Path) -> Config:
    return Config.fromfile(configs / "_base_/methods/self_training.py")


def _set_teacher(cfg: Config, *, evaluate: bool, configs: Path) -> None:
    """The same teacher for every method, or none but where it makes the labels online."""
    hooks = cfg.default_hooks
    rounds = hooks.get("self_training")
    is_needed = any(term["type"] in _LABELING_TERMS for term in cfg.model.terms.values())
    # MMEngine leaves a hook out that is None.
    if evaluate and hooks.get("teacher") is None:
        average = _self_training_base(configs).teacher_average
        hooks.teacher = dict(type="MeanTeacherHook", average=copy.deepcopy(average))
    if not evaluate and not is_needed:
        hooks.pop("teacher", None)
    if hooks.get("teacher") is not None:
        hooks.teacher.begin = warmup_iterations(cfg)
        hooks.teacher.evaluate = evaluate
    if rounds is not None:
        rounds.label_with = "teacher" if evaluate else "student"


def _add_noise(cfg: Config, noise: list[dict]) -> None:
    """Put noise into the target's pipeline after the geometric transforms, once."""
    pipeline = cfg.train_dataloader.dataset.target.pipeline
    added = {entry["type"] for entry in noise}
    kept = [entry for entry in pipeline if entry["type"] not in added]
    last = max(index for index, entry in enumerate(kept) if entry["type"] == "RandomFlip")
    cfg.train_dataloader.dataset.target.pipeline = [
        *kept[: last + 1],
        *copy.deepcopy(noise),
        *kept[last + 1 :],
    ]
