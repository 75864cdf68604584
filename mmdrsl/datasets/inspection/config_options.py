"""Command line options that reach the datasets of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

DATA_ROOT = "data_root"
_NO_DATA = ("load_from", "work_dir")


def merge_data_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Override entries of a config; a new ``data_root`` replaces the old one at the start of every path.

    A config's variables are used up when it is read, so that overriding ``data_root`` alone would change nothing.

    Args:
        cfg: The config, changed in place.
        options: Dotted key to value.

    Raises:
        ValueError: ``data_root`` is given, but the config has no such variable, or an empty one.
    """
    options = dict(options)
    if DATA_ROOT in options:
        old = cfg.get(DATA_ROOT)
        if not isinstance(old, str):
            raise ValueError(
                "the config has no top-level data_root to replace: name the whole entry, such as "
                "train_dataloader.dataset.data_root"
            )
        if not old.rstrip("/"):
            raise ValueError(
                f"the config's data_root is {old!r}, which begins every path: name the whole entry, such as "
                "train_dataloader.dataset.data_root"
            )
        new = str(options.pop(DATA_ROOT))
        # Not merged: MMEngine merges no dictionary with integer keys, such as a table of ids.
        for key, value in _replaced(cfg.to_dict(), old.rstrip("/"), new.rstrip("/")).items():
            if key not in _NO_DATA:
                cfg[key] = value
    cfg.merge_from_dict(options)


def _replaced(value: Any, old: str, new: str) -> Any:
    """Replace a path at the start of all strings inside dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, old, new) for item in value)
    if isinstance(value, str) and (value.rstrip("/") == old or value.startswith(old + "/")):
        return new + value[len(old) :]
    return value
