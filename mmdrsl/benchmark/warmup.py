"""Which runs begin with the same warm-up, read from their configs, and the config of that warm-up."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.optim import AmpOptimWrapper
from mmseg.registry import HOOKS, MODELS, OPTIM_WRAPPERS

from mmdrsl.engine.adaptation_hook import AdaptationHook

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
        ValueError: There is no number, or it leaves no steps before or after.
    """
    hook = cfg.default_hooks.get("self_training")
    given = (cfg if hook is None else hook).get("warmup_iterations")
    if given is None:
        raise ValueError(
            "a method has no warmup_iterations: its config names them at its top, or, with rounds, in "
            "default_hooks.self_training."
        )
    steps = int(given)
    if not 0 < steps < cfg.train_cfg.max_iters:
        raise ValueError(
            f"warmup_iterations is {steps}, expected 1..{cfg.train_cfg.max_iters - 1}, inside train_cfg.max_iters: "
            "change warmup_iterations and default_hooks.self_training.warmup_iterations together."
        )
    return steps


def warmup_config(cfg: Config) -> Config | None:
    """Config of the first steps of a run: its model on the source, without all that acts on the target alone.

    Terms say which domains they read and whether they have a state, hooks whether they act in the warm-up. Further
    heads and discriminators are in it, since their state is in the checkpoint. Which runs share a warm-up says
    `joined_warmup`.

    Args:
        cfg: Config of a run.

    Returns:
        Config of the first `warmup_iterations` steps; None where a hook forbids sharing, or does not say what it does.
    """
    steps = warmup_iterations(cfg)
    stock = cfg.get("runtime_hooks", {})
    hooks = {name: hook for name, hook in cfg.default_hooks.items() if hook is not None}
    custom = list(cfg.get("custom_hooks") or ())
    declared = [hook for name, hook in hooks.items() if name not in stock] + custom
    if not all(_may_share(hook, steps) for hook in declared):
        return None
    warmup = Config({key: copy.deepcopy(cfg[key]) for key in RUN_KEYS if key in cfg})
    warmup.default_hooks = ConfigDict(
        {name: copy.deepcopy(h) for name, h in hooks.items() if name in stock or _acts(h)}
    )
    if "custom_hooks" in warmup:
        warmup.custom_hooks = [hook for hook in warmup.custom_hooks if _acts(hook)]
    warmup.model.terms = ConfigDict(
        {
            name: term
            for name, term in warmup.model.terms.items()
            if _reads_source_alone(term) or built_term(term).has_state
        }
    )
    # On the source alone all are the same, and frozen statistics begin with the first round; but modes are placed under
    # those of single domains.
    if warmup.model.get("bn_mode") != "domain_specific":
        warmup.model.pop("bn_mode", None)
    if not warmup.model.get("heads"):
        warmup.model.pop("heads_shape_warmup", None)
    warmup.train_dataloader.dataset.pop("target", None)
    # Where a schedule does not say when it ends, MMEngine takes the end of the training, which is that of the run.
    schedules = warmup.get("param_scheduler") or []
    for schedule in [schedules] if isinstance(schedules, dict) else schedules:
        schedule.setdefault("end", cfg.train_cfg.max_iters)
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
    imports, further = (cfg.get("custom_imports", {}).get("imports", []) for cfg in (first, second))
    if further:
        joined.custom_imports.imports = list(dict.fromkeys([*imports, *further]))
    hooks = list(first.get("custom_hooks") or [])
    hooks += [hook for hook in second.get("custom_hooks") or [] if hook not in hooks]
    if hooks:
        joined.custom_hooks = hooks
    return joined


def built_term(term: Mapping[str, Any]) -> Any:
    """A term as its config describes it, for what it says of itself.

    Args:
        term: Config of the term.
    """
    return MODELS.build(copy.deepcopy(dict(term)))


def needs_teacher(cfg: Config) -> bool:
    """Whether a term of a run reads the teacher's prediction."""
    return any(built_term(term).needs_teacher for term in cfg.model.terms.values())


def _hook_class(hook: Mapping[str, Any]) -> type | None:
    kind = hook["type"]
    return HOOKS.get(kind) if isinstance(kind, str) else kind


def without_observers(entries: dict[str, Any]) -> dict[str, Any]:
    """A config without the hooks on which no training depends, such as the one that writes its report.

    Args:
        entries: Entries of a config.

    Returns:
        The others; hashes of runs are made of them.
    """
    hooks = entries.get("default_hooks", {})
    kept = {
        name: hook
        for name, hook in hooks.items()
        if hook is None or not getattr(_hook_class(hook), "only_observes", False)
    }
    return {**entries, "default_hooks": kept}


def _may_share(hook: Mapping[str, Any], steps: int) -> bool:
    """Whether a hook says what it does in the warm-up, and that others may share it."""
    kind = _hook_class(hook)
    return (
        kind is not None
        and issubclass(kind, AdaptationHook)
        and kind.allows_shared_warmup(hook, steps)
    )


def _acts(hook: Mapping[str, Any]) -> bool:
    kind = _hook_class(hook)
    return kind is None or not issubclass(kind, AdaptationHook) or kind.acts_in_warmup


def _changes_segmentor(hook: Mapping[str, Any]) -> bool:
    kind = _hook_class(hook)
    return kind is None or not issubclass(kind, AdaptationHook) or kind.changes_segmentor


def _is_shaped(cfg: Config) -> bool:
    """Whether what a run has beside the segmentor has a say in how that learns."""
    shapes = bool(cfg.model.get("heads")) and cfg.model.get("heads_shape_warmup", True)
    wrapper = cfg.optim_wrapper
    # Clipping goes by the norm of all gradients, a gradient scaler by their largest.
    scales = issubclass(OPTIM_WRAPPERS.get(wrapper.get("type", "OptimWrapper")), AmpOptimWrapper)
    return shapes or scales or wrapper.get("clip_grad") is not None


def _of_segmentor(cfg: Config) -> dict[str, Any]:
    """What of a warm-up's config says how the segmentor learns."""
    entries = copy.deepcopy(cfg.to_dict())
    model = entries["model"]
    for key in ("heads", "heads_shape_warmup", "discriminators"):
        model.pop(key, None)
    model["terms"] = {
        name: term
        for name, term in model["terms"].items()
        if _reads_source_alone(term) and built_term(term).trained_head is None
    }
    entries["default_hooks"] = {
        name: hook for name, hook in entries["default_hooks"].items() if _changes_segmentor(hook)
    }
    entries["custom_hooks"] = [
        hook for hook in entries.get("custom_hooks") or [] if _changes_segmentor(hook)
    ]
    entries.pop("custom_imports", None)
    return entries


def _reads_source_alone(term: Mapping[str, Any]) -> bool:
    """Whether a term has something to do in a batch of source images."""
    return built_term(term).domains == {"source"}
