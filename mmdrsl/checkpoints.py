"""Reads checkpoint files without running code from them."""

from __future__ import annotations

import argparse
import os
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

TRUST_VARIABLE = "MMDRSL_TRUST_CHECKPOINT"
"""Environment variable that names the files whose code may run, separated as those of PATH."""

# What a `HistoryBuffer` consists of, and the statistics that it has names for.
_LOG_STATE = ("max_length", "_log_history", "_count_history")
_STATISTICS = ("min", "max", "current", "mean")
_ANNEALING = ("_annealing_cos", "_annealing_linear")
# torch has one list of what is allowed for all threads, and the end of each reading takes it back.
_READING = threading.Lock()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of MMEngine's Runner, or a file of weights alone, onto the CPU.

    Args:
        path: The file, or an address that MMEngine accepts in ``load_from``, which is downloaded.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As `read_file`, or the file holds no dictionary.
    """
    is_address = "://" in str(path)
    read = CheckpointLoader.load_checkpoint if is_address else read_file
    content = read(str(path), map_location="cpu")
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected the checkpoint of a Runner or a state dict."
        )
    return content


def read_file(file: Any, map_location: Any = "cpu") -> Any:
    """Read a file of ``torch.save``.

    Such a file is a program that may name any function. This one may name those that tensors, NumPy's arrays,
    MMEngine's logs and schedules, and configs are made of, and nothing else. A log gets the statistics of this process;
    those that the file names are left out. A config becomes plain dictionaries. Files that the user trusts by
    `TRUST_VARIABLE` are read as Python reads any pickle, their code included.

    Args:
        file: Path of the file, or an open one.
        map_location: As for ``torch.load``.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or names something else.
    """
    if not hasattr(file, "read"):
        file = Path(file).expanduser()
        check_exists(file)
    if _is_trusted(file):
        print_log(
            f"Reading {file} with the code that it holds, as {TRUST_VARIABLE} allows.", "current"
        )
        return torch.load(file, map_location=map_location, weights_only=False)
    try:
        if not hasattr(file, "read"):
            _check_sums(file)
        with _READING, torch.serialization.safe_globals(_allowed()):
            return torch.load(file, map_location=map_location, weights_only=True)
    except (PermissionError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # Damaged bytes can fail in any way.
        raise ValueError(
            f"{file} is no checkpoint of tensors, plain types and MMEngine's logs ({_reason(error)}). Restore it if it "
            "is damaged. If it holds more than that, save its weights alone with torch.save(model.state_dict(), FILE); "
            f"if you trust its origin, name it by --trust-checkpoint FILE or {TRUST_VARIABLE}=FILE, and its code runs."
        ) from error


def _check_sums(file: Path) -> None:
    """Compare the check sums of a file's parts, which PyTorch writes and does not look at.

    Raises:
        ValueError: A part has changed since it was written.
    """
    # Files of PyTorch before 1.6 are no archives and have none.
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the part {damaged} does not have the check sum that it was written with")


def check_exists(path: str | Path) -> None:
    """Refuse a checkpoint that is not there, before anything is built.

    Args:
        path: The file; an address passes.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if "://" not in str(path) and not Path(path).expanduser().is_file():
        raise FileNotFoundError(
            f"The checkpoint {path} does not exist or is no file: give one such as work_dirs/RUN/iter_N.pth."
        )


def holds_training_state(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a training can be resumed from a checkpoint, which else holds weights alone.

    Args:
        checkpoint: What `read_checkpoint` gives.
    """
    meta = checkpoint.get("meta")
    return (
        isinstance(meta, Mapping)
        and {"iter", "epoch"} <= meta.keys()
        and isinstance(checkpoint.get("message_hub"), Mapping)
    )


def trust(files: list[str]) -> None:
    """Let the code of files run when they are read, in this process and in those that it starts.

    Args:
        files: Their paths.
    """
    known = os.environ.get(TRUST_VARIABLE)
    os.environ[TRUST_VARIABLE] = os.pathsep.join([*([known] if known else []), *files])


def _is_trusted(file: Any) -> bool:
    names = os.environ.get(TRUST_VARIABLE, "").split(os.pathsep)
    trusted = {Path(name).expanduser().resolve() for name in names if name}
    return isinstance(file, Path) and file.resolve() in trusted


class _StoredLog(HistoryBuffer):
    """A log that is being read; it ends as a plain `HistoryBuffer`."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        # MMEngine would put the file's statistics in place of those of every log in this process.
        super().__setstate__({name: state[name] for name in _LOG_STATE})
        self.__class__ = HistoryBuffer


class _StoredSchedule:
    """Stands for `OneCycleParamScheduler`, of which a checkpoint names a function."""


class _StoredMapping:
    """Stands for the dictionaries of configs, and for `defaultdict`: an ordered dictionary is made."""

    def __new__(cls, *content: Any) -> OrderedDict:
        return OrderedDict(*(each for each in content if isinstance(each, dict)))


class _StoredConfig(argparse.Namespace):
    """A config that is being read; it ends as a plain namespace of its dictionary, its file's name and its text."""

    def __setstate__(self, state: tuple) -> None:
        self.content, self.filename, self.text = state[:3]
        self.__class__ = argparse.Namespace  # type: ignore[assignment]


def _attribute(owner: Any, name: str) -> Any:
    """Take the place of ``getattr``, by which a file names a log's statistics and a schedule's function.

    Raises:
        UnpicklingError: It is asked for anything else.
    """
    if owner is _StoredLog and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    if owner is _StoredSchedule and name in _ANNEALING:
        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f"it asks for the attribute {name!r} of {owner!r}")


def _allowed() -> list[Any]:
    """Everything that a file may name beside tensors and plain types: objects, or pairs of object and name."""
    log, schedule = (
        f"{each.__module__}.{each.__qualname__}" for each in (HistoryBuffer, OneCycleParamScheduler)
    )
    make_array, make_scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    codes = ("?", "U", *np.typecodes["AllInteger"], *np.typecodes["Float"])
    # Of MMEngine, and of MMCV before version 2.
    configs = ("mmengine.config.config", "mmcv.utils.config", "mmcv.utils.misc")
    return [
        (_StoredLog, log),
        (_StoredSchedule, schedule),
        (_attribute, "builtins.getattr"),
        *((_StoredConfig, f"{module}.Config") for module in configs),
        *((_StoredMapping, f"{module}.ConfigDict") for module in configs),
        *((_StoredMapping, name) for name in ("addict.addict.Dict", "collections.defaultdict")),
        # The options of a command line, beside the weights of many published backbones.
        argparse.Namespace,
        slice,
        dict,
        list,
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
