"""Reads checkpoint files without running code from them."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# What a `HistoryBuffer` consists of, and the statistics that it has names for.
_LOG_STATE = ("max_length", "_log_history", "_count_history")
_STATISTICS = ("min", "max", "current", "mean")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of MMEngine's Runner, or a file of weights alone, onto the CPU.

    A file of ``torch.save`` is a program that may name any function. This one may name those that tensors, NumPy's
    arrays and MMEngine's logs are made of, and nothing else. A log gets the statistics of this process; those that the
    file names are left out.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, names something else, or holds no dictionary.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist or is no file: give the path of a checkpoint; nothing is downloaded."
        )
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        # Damaged bytes can fail in any way.
        raise ValueError(
            f"{path} is no checkpoint of tensors, plain types and MMEngine's logs ({_reason(error)}). Restore it if it "
            "is damaged. If it holds more than that and you trust its origin, save its weights alone with "
            "torch.save(model.state_dict(), FILE)."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected the checkpoint of a Runner or a state dict."
        )
    return content


class _StoredLog(HistoryBuffer):
    """A log that is being read; it ends as a plain `HistoryBuffer`."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        # MMEngine would put the file's statistics in place of those of every log in this process.
        super().__setstate__({name: state[name] for name in _LOG_STATE})
        self.__class__ = HistoryBuffer


def _statistic(owner: Any, name: str) -> Any:
    """Take the place of ``getattr``, by which a stored log names its statistics.

    Raises:
        UnpicklingError: It is asked for anything else.
    """
    if owner is not _StoredLog or name not in _STATISTICS:
        raise UnpicklingError(f"it asks for the attribute {name!r} of {owner!r}")
    return getattr(HistoryBuffer, name)


def _allowed() -> list[Any]:
    """Everything that a file may name beside tensors and plain types: objects, or pairs of object and name."""
    log = f"{HistoryBuffer.__module__}.{HistoryBuffer.__qualname__}"
    make_array, make_scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    codes = ("?", "U", *np.typecodes["AllInteger"], *np.typecodes["Float"])
    return [
        (_StoredLog, log),
        (_statistic, "builtins.getattr"),
        np.ndarray,
        np.dtype,
        # The content of an array without values.
        bytes,
        # Of NumPy 2, and of files that NumPy 1 wrote.
        *((make_array, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")),
        *((make_scalar, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
        *{type(np.dtype(code)) for code in codes},
    ]


def _reason(error: Exception) -> str:
    """What torch found, without its advice to read the file unprotected."""
    text = str(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named is not None:
        return f"it names {named[1]}"
    inner = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    first = inner[1] if inner is not None else text.partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
