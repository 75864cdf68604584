"""Which runs begin with the same warm-up, read from their configs, and the config of that warm-up."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

# Hooks that do nothing to the weights in the warm-up: the teacher begins at its end, which is checked.
_HARMLESS_HOOKS = {
    "step_seed",
    "timer",
    "logger",
    "param_scheduler",
    "checkpoint",
    "sampler_seed",
    "visualization",
    "cost",
    "self_training",
    "teacher",
}
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
    """Config of the warm-up of a run, where that is plain training of the segmentor on the source.

    It is, unless the run has further heads (they would train beside the segmentor), terms other than ``source`` that
    read the source domain, discriminators (their state is in the checkpoint), hooks that act in the warm-up, or a
    teacher that begins before its end. Such a run has a warm-up of its own.

    Two runs share a warm-up where this gives them equal configs.

    Args:
        cfg: Config of a run.

    Returns:
        Config of the first `warmup_iterations` steps; None where the run has a warm-up of its own.
    """
    steps = warmup_iterations(cfg)
    model = cfg.model
    teacher = cfg.default_hooks.get("teacher")
    if (
        model.get("heads")
        or model.get("discriminators")
        or "source" not in model.terms
        or any(_reads_source(term) for name, term in model.terms.items() if name != "source")
        or cfg.get("custom_hooks")
        or set(cfg.default_hooks) - _HARMLESS_HOOKS
        or (teacher is not None and teacher.get("begin", 0) < steps)
    ):
        return None
    warmup = Config({key: copy.deepcopy(cfg[key]) for key in RUN_KEYS if key in cfg})
    warmup.model.terms = ConfigDict(source=warmup.model.terms.source)
    # Only the segmentor is there: what follows says nothing about it.
    for key in ("heads", "discriminators", "heads_shape_warmup"):
        warmup.model.pop(key, None)
    for key in ("self_training", "teacher"):
        warmup.default_hooks.pop(key, None)
    warmup.train_dataloader.dataset.pop("target", None)
    warmup.train_cfg.max_iters = steps
    return warmup


def _reads_source(term: dict[str, Any]) -> bool:
    """Whether a term names the source as one of its domains."""
    domains = term.get("domains", ())
    return term.get("domain") == "source" or "source" in domains
