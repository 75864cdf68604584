"""Options of the command line that go to several configs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config


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
    """Override entries in every config that has their parent.

    Args:
        configs: Config by method, changed in place.
        options: Value by dotted name.

    Returns:
        By method, the options that have no place in its config, so that it stays as it is.

    Raises:
        ValueError: No config has the parent of an option.
    """
    missed: dict[str, list[str]] = {method: [] for method in configs}
    for name, value in options.items():
        takers = [method for method, cfg in configs.items() if has_parent(cfg, name)]
        if not takers:
            raise ValueError(
                f"--cfg-options {name}: none of {sorted(configs)} has {name.rpartition('.')[0]!r}; name an entry of "
                "their configs."
            )
        for method, cfg in configs.items():
            if method in takers:
                cfg.merge_from_dict({name: value})
            else:
                missed[method].append(name)
    return missed
