"""What is equal for every method of a comparison, and what a method does differently."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmdrsl.benchmark.warmup import needs_teacher, warmup_iterations

EQUAL = ("steps", "warmup_steps", "images_per_step", "crop", "initial_weights")
"""Entries of `protocol_of` that must be the same for all methods."""


def use_protocol(cfg: Config, *, seed: int, follow_rounds: bool = False) -> None:
    """Seed a run, and let it train without ever looking at labels of the target.

    Validation is left out: the last iterate is evaluated by a process of its own.

    Args:
        cfg: Config of a run, changed in place.
        seed: Training seed.
        follow_rounds: Evaluate at the end of every round all the same, for curves; training does not read it.
    """
    cfg.randomness.seed = seed
    if not follow_rounds:
        for key in ("val_cfg", "val_dataloader", "val_evaluator"):
            cfg[key] = None
    for key in ("test_cfg", "test_dataloader", "test_evaluator"):
        cfg[key] = None
    cfg.train_cfg.pop("val_interval", None)
    if follow_rounds:
        # At the ends of rounds only.
        cfg.train_cfg.val_interval = cfg.train_cfg.max_iters
    rounds = cfg.default_hooks.get("self_training")
    if rounds is not None:
        rounds.evaluate_rounds = follow_rounds
        rounds.pop("analysis", None)
        rounds.pop("analysis_dataset", None)
    cfg.default_hooks.cost = dict(type="RunCostHook", warmup_iterations=warmup_iterations(cfg))


def protocol_of(cfg: Config, *, initial_weights: str) -> dict[str, Any]:
    """Summarize what a comparison must hold fixed, or say.

    Args:
        cfg: Config of a run.
        initial_weights: Name of the backbone's file, or ``scratch``.

    Returns:
        ``steps``, ``warmup_steps``, ``images_per_step``, ``crop`` (height and width in pixels of every random crop),
        ``initial_weights``, ``bn_mode`` (of batches of two domains; None where there are none), ``optimizer``,
        ``labels`` (how target images are labeled) and ``network`` (which one is evaluated).
    """
    hooks = cfg.default_hooks
    rounds = hooks.get("self_training")
    teacher = hooks.get("teacher")
    labels: str
    if rounds is None:
        labels = "none"
    elif rounds.get("online", False):
        labels = f"every batch, by the teacher{_views(teacher)}" if needs_teacher(cfg) else "none"
    else:
        labeler = rounds.get("labeler") or {}
        policy = dict(labeler.get("policy", {}))
        kind = policy.get("type", "ClassBalancedPolicy")
        portions = [entry.get("portion") for entry in rounds.rounds]
        views = _views(labeler) if labeler.get("flip", False) else f", one view{_views(labeler)}"
        labels = f"{kind}, portions {portions}{views}, by the {rounds.get('label_with', 'student')}"
        weight = policy.get("second_weight", 0.0)
        if weight > 0:
            labels += f", weight {weight} of the head {policy['second_head']!r}"
        if "highest_threshold" in policy:
            labels += f", thresholds up to {policy['highest_threshold']}"
    return {
        "steps": int(cfg.train_cfg.max_iters),
        "warmup_steps": warmup_iterations(cfg),
        "images_per_step": int(cfg.train_dataloader.batch_size),
        "crop": [list(crop) for crop in sorted(set(_crops(cfg.train_dataloader.dataset)))],
        "initial_weights": initial_weights,
        "bn_mode": None if rounds is None else _bn_mode(cfg),
        "optimizer": cfg.optim_wrapper.optimizer.type,
        "labels": labels,
        "network": "teacher" if teacher is not None and teacher.get("evaluate") else "student",
    }


def _views(labeler: Mapping[str, Any]) -> str:
    """How a labeler, or a teacher of batches, looks at an image, where that is not plainly."""
    said = ["flip"] if labeler.get("flip", False) else []
    scales = [float(scale) for scale in labeler.get("scales", (1.0,))]
    if scales != [1.0]:
        said.append(f"scales {scales}")
    if labeler.get("undo_class_weights", False):
        said.append("class weights undone")
    return "".join(f", {each}" for each in said)


def _bn_mode(cfg: Config) -> str:
    """How two domains in a batch are normalized, and whose statistics are taken anew."""
    found = cfg.model.get("bn_mode", "joint")
    hook = cfg.default_hooks.get("adabn")
    if hook is None:
        return found
    weight = hook.get("target_weight", 1.0)
    said = f"{found}, statistics with weight {weight} of the target"
    return f"{said}, the rest as they were" if weight < 1 else said


def _crops(node: Any) -> Iterator[tuple[int, ...]]:
    """Sizes of all random crops below a node of a config."""
    if isinstance(node, dict):
        if node.get("type") == "RandomCrop":
            yield tuple(node["crop_size"])
        node = list(node.values())
    if isinstance(node, list | tuple):
        for entry in node:
            yield from _crops(entry)


def check_equal(protocols: dict[str, dict[str, Any]]) -> None:
    """Refuse a comparison of runs of unlike length or batch.

    Args:
        protocols: What `protocol_of` says, by method.

    Raises:
        ValueError: They differ in one of `EQUAL`.
    """
    for key in EQUAL:
        values = {method: copy.copy(protocol[key]) for method, protocol in protocols.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            raise ValueError(
                f"the methods differ in {key}: {values}. A comparison needs it equal; change the configs, or "
                "--cfg-options for all of them."
            )
