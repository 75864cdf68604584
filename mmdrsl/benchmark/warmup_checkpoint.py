"""Takes what one method needs out of the checkpoint of a warm-up in which the heads of several methods learned."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmdrsl.atomic_files import replacing
from mmdrsl.checkpoints import read_checkpoint
from mmdrsl.engine.hooks.run_cost_hook import MEMORY_KEY

# What MMEngine's schedules hold for every group of parameters.
_PER_GROUP = ("base_values", "_last_value")


def write_part(whole: Path, whole_cfg: Config, part: Path, part_cfg: Config) -> None:
    """Write the checkpoint that the warm-up would have left with the heads and discriminators of one method alone.

    Weights, state of the optimizer and of the schedules are chosen by the names of the parameters. The log begins anew.

    Args:
        whole: Checkpoint of the warm-up.
        whole_cfg: Its config, as read from its file: written and read again, heads come in another order.
        part: Checkpoint to write.
        part_cfg: Config of the run that continues it, read from its file: the same segmentor, some of the heads.

    Raises:
        FileNotFoundError: There is no checkpoint of the warm-up.
        ValueError: The file is no checkpoint, or lacks something that the run has.
    """
    # A model builds its parts in this scope; the Runner, which sets it, is in another process.
    init_default_scope(part_cfg.get("default_scope", "mmseg"))
    checkpoint = read_checkpoint(whole)
    model = MODELS.build(copy.deepcopy(part_cfg.model))
    missing = sorted(model.state_dict().keys() - checkpoint["state_dict"].keys())
    if missing:
        raise ValueError(
            f"{whole} lacks {missing[:3]}{' and more' if len(missing) > 3 else ''}: it is no warm-up of this run. "
            "Choose another --out, or delete its folder."
        )
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = type(state)((name, state[name]) for name in model.state_dict())
    groups = _parameter_groups(MODELS.build(copy.deepcopy(whole_cfg.model)), whole_cfg)
    kept = _parameter_groups(model, part_cfg)
    optimizer, origin = _part_of_optimizer(checkpoint["optimizer"], groups, kept)
    checkpoint["optimizer"] = optimizer
    checkpoint["param_schedulers"] = [
        {**schedule, **{key: _chosen(schedule[key], origin, len(groups)) for key in _PER_GROUP}}
        for schedule in checkpoint.get("param_schedulers", [])
    ]
    # Logs and peak memory are those of all heads.
    hub = checkpoint["message_hub"]
    hub["log_scalars"] = type(hub["log_scalars"])()
    hub["runtime_info"].pop(MEMORY_KEY, None)
    with replacing(part) as temporary:
        torch.save(checkpoint, temporary)


def _parameter_groups(model: nn.Module, cfg: Config) -> list[list[str]]:
    """Names of the parameters in each group of the optimizer, in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    logger = MMLogger.get_current_instance()
    level = logger.level
    # MMEngine says a line for every option of every parameter.
    logger.setLevel(logging.WARNING)
    try:
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    finally:
        logger.setLevel(level)
    return [
        [names[id(parameter)] for parameter in group["params"]]
        for group in wrapper.optimizer.param_groups
    ]


def _chosen(values: list, origin: list[int], num_groups: int) -> list:
    """Values of the kept groups, and what the optimizer's wrapper has beyond the groups."""
    return [*(values[index] for index in origin), *values[num_groups:]]


def _part_of_optimizer(
    state: dict[str, Any], groups: list[list[str]], kept: list[list[str]]
) -> tuple[dict[str, Any], list[int]]:
    """State of the optimizer for some of its parameters, and from which group each kept group comes."""
    position = {
        name: index for index, name in enumerate(name for group in groups for name in group)
    }
    group_of = {name: index for index, group in enumerate(groups) for name in group}
    origin = [group_of[group[0]] for group in kept]
    names = [name for group in kept for name in group]
    number = {name: index for index, name in enumerate(names)}
    moments = state["state"]
    return {
        **state,
        "state": {
            number[name]: moments[position[name]] for name in names if position[name] in moments
        },
        "param_groups": [
            {**state["param_groups"][index], "params": [number[name] for name in group]}
            for index, group in zip(origin, kept, strict=True)
        ],
    }, origin
