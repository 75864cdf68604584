"""Which runs begin with the same warm-up, read from their configs, and the config of that warm-up."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

# Hooks that in the warm-up do nothing to the weights, or nothing that needs the target.
_HARMLESS_HOOKS = {
    "step_seed",
    "timer",
    "logger",
    "param_scheduler",
    "checkpoint",
    "sampler_seed",
    "buffers",
    "visualization",
    "cost",
    "self_training",
    "teacher",
    "modes",
    # Takes statistics where a round begins; nothing is evaluated in the warm-up.
    "normalization",
}
_HARMLESS_CUSTOM_HOOKS = {"ModeMonitorHook", "DomainAccuracyHook"}
# Terms that return nothing for a batch without target images.
_TARGET_TERMS = {
    "AdversarialTerm",
    "ClassMixTerm",
    "EntropyTerm",
    "FeatureAdaptationTerm",
    "ModeAlignmentTerm",
    "ModelRegularizationTerm",
    "RectifiedCrossEntropyTerm",
}
# Entries that may differ between warm-ups of one segmentor which no head shapes.
_BESIDE_SEGMENTOR = ("heads", "discriminators", "terms")
RUN_KEYS = (
    "custom_imports",
    "default_scope",
    "env_cfg",
    "randomness",
    "vis_backends",
    "visualizer",
    "log_processor",
    "log_level",
    "default_hooks",
    "custom_hooks",
    "model",
    "train_dataloader",
    "optim_wrapper",
    "param_scheduler",
    "train_cfg",
)
"""Entries of a config on which a training depends."""


def warmup_iterations(cfg: Config) -> int:
    """Steps before a run's first round.

    Args:
        cfg: Config of a run; one without rounds names ``warmup_iterations`` at its top.

    Returns:
        The number of steps.

    Raises:
        ValueError: It leaves no steps before or after.
    """
    hook = cfg.default_hooks.get("self_training")
    steps = int((cfg if hook is None else hook)["warmup_iterations"])
    if not 0 < steps < cfg.train_cfg.max_iters:
        raise ValueError(
            f"warmup_iterations is {steps}, expected 1..{cfg.train_cfg.max_iters - 1}, inside train_cfg.max_iters: "
            "change warmup_iterations and default_hooks.self_training.warmup_iterations together."
        )
    return steps


def warmup_config(cfg: Config) -> Config | None:
    """Config of the first steps of a run: its model on the source, without all that acts on the target alone.

    Further heads and discriminators are in it, since their state is in the checkpoint. Which runs share a warm-up says
    `joined_warmup`.

    Args:
        cfg: Config of a run.

    Returns:
        Config of the first `warmup_iterations` steps; None where a teacher begins before their end, or a hook is not
        known to need the source alone: such a run has a warm-up of its own.
    """
    steps = warmup_iterations(cfg)
    teacher = cfg.default_hooks.get("teacher")
    custom_hooks = {hook["type"] for hook in cfg.get("custom_hooks") or ()}
    if (
        set(cfg.default_hooks) - _HARMLESS_HOOKS
        or custom_hooks - _HARMLESS_CUSTOM_HOOKS
        or (teacher is not None and teacher.get("begin", 0) < steps)
    ):
        return None
    warmup = Config({key: copy.deepcopy(cfg[key]) for key in RUN_KEYS if key in cfg})
    terms = warmup.model.terms.items()
    warmup.model.terms = ConfigDict(
        {name: term for name, term in terms if _reads_source(term) or _has_state(term)}
    )
    keeps_gate = any(_has_state(term) for term in warmup.model.terms.values())
    if "DomainAccuracyHook" in custom_hooks and not keeps_gate:
        # It stops a run without a gate; that is for the method to hear, not for those that share its warm-up.
        warmup.custom_hooks = [
            hook for hook in warmup.custom_hooks if hook["type"] != "DomainAccuracyHook"
        ]
    # Frozen statistics begin with the first round. Those of single domains matter where modes are placed.
    if warmup.model.get("normalization") in ("joint", "frozen"):
        warmup.model.pop("normalization")
    if not warmup.model.get("heads"):
        warmup.model.pop("heads_shape_warmup", None)
    for key in ("self_training", "teacher", "normalization"):
        warmup.default_hooks.pop(key, None)
    warmup.train_dataloader.dataset.pop("target", None)
    warmup.train_cfg.max_iters = steps
    return warmup


def joined_warmup(first: Config, second: Config) -> Config | None:
    """One warm-up for two runs, in which the heads of both learn beside one segmentor.

    Heads that do not shape the warm-up leave the segmentor as it is, and `UDASegmentor` lets every term draw as if it
    were alone, so each run finds the bits of a warm-up of its own: see `warmup_checkpoint.write_part`.

    Args:
        first: What `warmup_config` gives for a run, or an earlier result of this function.
        second: What `warmup_config` gives for another.

    Returns:
        Its config; None where they train the segmentor in different ways, or call different things by one name.
    """
    if first.to_dict() == second.to_dict():
        return first
    if any(_is_shaped(cfg) for cfg in (first, second)):
        return None
    if _of_segmentor(first) != _of_segmentor(second):
        return None
    joined = copy.deepcopy(first)
    sections = [(joined.model, second.model, key) for key in _BESIDE_SEGMENTOR]
    for own, other, key in [*sections, (joined, second, "default_hooks")]:
        present, added = own.get(key) or {}, copy.deepcopy(other.get(key) or {})
        if any(name in present and present[name] != entry for name, entry in added.items()):
            return None
        if added:
            own[key] = ConfigDict({**present, **added})
    if joined.model.get("heads"):
        joined.model.heads_shape_warmup = False
    hooks = list(first.get("custom_hooks") or [])
    hooks += [hook for hook in second.get("custom_hooks") or [] if hook not in hooks]
    if hooks:
        joined.custom_hooks = hooks
    return joined


def _is_shaped(cfg: Config) -> bool:
    """Whether what a run has beside the segmentor has a say in how that learns."""
    shapes = bool(cfg.model.get("heads")) and cfg.model.get("heads_shape_warmup", True)
    wrapper = cfg.optim_wrapper
    # Clipping goes by the norm of all gradients, mixed precision by their largest.
    plain = wrapper.get("type", "OptimWrapper") == "OptimWrapper"
    return shapes or not plain or wrapper.get("clip_grad") is not None


def _of_segmentor(cfg: Config) -> dict[str, Any]:
    """What of a warm-up's config says how the segmentor learns."""
    entries = copy.deepcopy(cfg.to_dict())
    model = entries["model"]
    for key in ("heads", "heads_shape_warmup", "discriminators"):
        model.pop(key, None)
    model["terms"] = {
        name: term
        for name, term in model["terms"].items()
        if not _reads_head(term) and (_reads_source(term) or not _has_state(term))
    }
    entries["default_hooks"].pop("modes", None)
    entries.pop("custom_hooks", None)
    return entries


def _reads_head(term: dict[str, Any]) -> bool:
    """Whether a term trains a further head and nothing else."""
    kind = term["type"]
    return kind == "ModeMetricTerm" or (kind == "SegmentationTerm" and term.get("head") is not None)


def _has_state(term: dict[str, Any]) -> bool:
    """Whether checkpoints hold something of a term: the gate of a discriminator."""
    return term.get("gate") is not None


def _reads_source(term: dict[str, Any]) -> bool:
    """Whether a term may have something to do in a batch of source images."""
    if "domain" in term:
        return term["domain"] == "source"
    if "domains" in term:
        return "source" in term["domains"]
    return term["type"] not in _TARGET_TERMS
