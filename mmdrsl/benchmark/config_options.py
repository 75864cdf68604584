"""Options of the command line that go to several configs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmdrsl.benchmark.warmup import RUN_KEYS
from mmdrsl.engine.config_options import merged_with, what_is_wrong

_WARMUP = "warmup_iterations"


def has_parent(cfg: Any, name: str) -> bool:
    """Whether what holds the entry of a dotted name exists in a config; a ``type`` may begin a new entry."""
    parts = name.split(".")
    for part in parts[: -2 if parts[-1] == "type" else -1]:
        if isinstance(cfg, list | tuple):
            if not part.isdigit() or int(part) >= len(cfg):
                return False
            cfg = cfg[int(part)]
        elif isinstance(cfg, Config | dict) and part in cfg:
            cfg = cfg[part]
        else:
            return False
    return True


def is_read(cfg: Config, name: str) -> bool:
    """Whether a run of a benchmark reads the top-level entry that a dotted name begins with.

    Others are for tools that train one run, or variables of the config's files, which are used up.

    Args:
        cfg: Config of a method.
        name: The dotted name.
    """
    if name == _WARMUP:
        # Beside rounds, which have a number of their own.
        return cfg.get("default_hooks", {}).get("self_training") is None
    return name.partition(".")[0] in (*RUN_KEYS, "title")


def check_kept(cfg: Config, options: Mapping[str, Any], *, title: str) -> None:
    """Refuse options that something else has overwritten since.

    Args:
        cfg: Config of a run.
        options: Value by dotted name, of those that have a place in it.
        title: What the run is called.

    Raises:
        ValueError: An entry has another value.
    """
    for name, value in options.items():
        if not _holds(cfg, name.split("."), value):
            raise ValueError(
                f"--cfg-options {name}={value!r} has no effect on {title}: the protocol of the comparison sets that "
                "entry. Seeds, weights, data, and teacher, scales, augmentation and statistics of the target have "
                "options of their own (--seeds, --weights, --data, --tricks)."
            )


def _holds(found: Any, path: list[str], value: Any) -> bool:
    """Whether an entry has a value; of a dictionary, whether it has its entries."""
    if path:
        key, *rest = path
        if isinstance(found, list | tuple):
            return key.isdigit() and int(key) < len(found) and _holds(found[int(key)], rest, value)
        if not isinstance(found, Config | dict):
            return False
        return _holds(found.get(key), rest, value)
    if isinstance(value, dict) and isinstance(found, dict):
        return all(_holds(found, [key], own) for key, own in value.items() if key != "_delete_")
    if isinstance(value, list | tuple) and isinstance(found, list | tuple):
        return len(value) == len(found) and all(map(_holds, found, [[]] * len(found), value))
    return bool(found == value)


def merge_options(
    configs: Mapping[str, Config], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Override entries in every config that has them, or whose types take them.

    Args:
        configs: Config by method, changed in place.
        options: Value by dotted name.

    Returns:
        By method, the options that have no place in its config, or that its run does not read, so that it stays as
        it is.

    Raises:
        ValueError: No config has a place for an option, or no run reads it.
    """
    missed: dict[str, list[str]] = {method: [] for method in configs}
    refusals: dict[str, str] = {}
    for method, cfg in configs.items():
        fitting, merged = set(), cfg
        for name, value in options.items():
            # An option may bring the parent of a later one.
            if has_parent(merged, name):
                fitting.add(name)
                merged = merged_with(merged, {name: value})
        for name in options:
            if name in fitting:
                refusal = _refusal(cfg, merged, name)
                if refusal is None:
                    continue
                refusals[name] = refusal
            missed[method].append(name)
    for name in options:
        if all(name in names for names in missed.values()):
            parent = f"has {name.rpartition('.')[0]!r}; name an entry of their configs."
            raise ValueError(
                f"--cfg-options {name}: none of {sorted(configs)} {refusals.get(name, parent)}"
            )
    for method, cfg in configs.items():
        taken = {name: value for name, value in options.items() if name not in missed[method]}
        cfg.merge_from_dict(taken)
    return missed


def _refusal(cfg: Config, merged: Config, name: str) -> str | None:
    """Why an option does nothing to a config, as the end of a sentence on those who have it."""
    wrong = what_is_wrong(cfg, merged, name)
    if wrong is not None:
        return f"has it: {wrong}"
    if is_read(merged, name):
        return None
    return (
        "reads it in a benchmark: name the entries in which the config's files use it; data and initial weights are "
        "--data and --weights."
    )
