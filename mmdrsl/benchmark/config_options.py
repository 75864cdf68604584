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
