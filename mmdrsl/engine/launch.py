"""What our command line tools do before MMEngine's Runner takes over."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError
from mmengine.device import get_device
from mmengine.runner import find_latest_checkpoint

from mmdrsl.checkpoints import holds_training_state, read_checkpoint, trust
from mmdrsl.engine.log_filter import filter_log
from mmdrsl.mmengine_private import resolve_mmseg_bases

# What a wrong command, config, file or data set raises before a step is computed.
MISTAKES = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    ImportError,
    SyntaxError,
    FloatingPointError,
    ConfigParsingError,
)
_STEP_FUNCTIONS = ("train_step", "val_step", "test_step")


def run_tool(name: str, work: Callable[[], Any]) -> None:
    """Run what a tool does; a mistake of its user ends in one line, with exit status 1.

    Errors inside a step of a training or test keep their traceback, and so do all under ``python -X dev``.

    Args:
        name: Of the tool, for the line.
        work: What it does.

    Raises:
        SystemExit: There was a mistake, or the user stopped the tool.
    """
    try:
        work()
    except MISTAKES as error:
        frames = traceback.extract_tb(error.__traceback__)
        if sys.flags.dev_mode or any(frame.name in _STEP_FUNCTIONS for frame in frames):
            raise
        print(f"{name}: {describe(error)}", file=sys.stderr)
        raise SystemExit(1) from error


def describe(error: BaseException) -> str:
    """What an error says, without the quotation marks that a KeyError puts around it."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text or type(error).__name__


class _Trust(argparse.Action):
    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        trust([str(values)])


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint FILE``, by which a user lets the code run that a checkpoint holds.

    Args:
        parser: Of a tool that reads checkpoints.
    """
    parser.add_argument(
        "--trust-checkpoint",
        action=_Trust,
        metavar="FILE",
        help="run the code that this checkpoint holds when it is read; may be repeated",
    )


def read_config(path: str | Path) -> Config:
    """Read a config file as all tools of this project do.

    Modules that its ``custom_imports`` name are found beside it, too.

    Args:
        path: The file.

    Returns:
        The config.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no config {path}: give a file such as configs/METHOD/NETWORK_PAIR.py; mmdrsl COMMAND finds "
            "those of the library by this name, too."
        )
    resolve_mmseg_bases()
    filter_log()
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return Config.fromfile(path)


def join_cpu_process_group(launcher: str) -> None:
    """Make the gloo group for CPU ranks.

    MMEngine's own initialization selects a CUDA device and fails without one; it leaves an existing group alone.

    Args:
        launcher: MMEngine launcher name; only ``pytorch`` on a machine without CUDA is handled.
    """
    if launcher == "pytorch" and not torch.cuda.is_available():
        torch.distributed.init_process_group("gloo")


def wrap_for_cpu_ranks(cfg: Config, launcher: str) -> None:
    """Configure the distributed wrapper for CPU ranks: no device ids.

    Args:
        cfg: Run config, changed in place.
        launcher: MMEngine launcher name.
    """
    if launcher != "none" and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            # The Runner reads it only where it configures the wrapper itself.
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        )


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None) -> None:
    """Choose the work directory: command line, then config, then the config file's name.

    Args:
        cfg: Run config, changed in place.
        config_path: Path of the config file.
        work_dir: Value of ``--work-dir``.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = os.path.join("work_dirs", Path(config_path).stem)


def prefer_own_checkpoint(cfg: Config) -> None:
    """Let a run that is resumed go on from the last checkpoint of its folder, wherever that was moved or copied to.

    It goes before the checkpoint that the run began with. Where there is none yet, MMEngine resumes from ``load_from``,
    step and optimizer included; weights alone, such as an exported segmentor's, are loaded. A ``load_from`` inside the
    run's own folder is a choice among its checkpoints.

    Args:
        cfg: Run config with ``work_dir``, changed in place.

    Raises:
        FileNotFoundError: There is no file ``load_from``.
        ValueError: It is no checkpoint.
    """
    if not cfg.resume:
        return
    own = find_latest_checkpoint(cfg.work_dir)
    if own is not None:
        # MMEngine notes the place where it was written.
        here = Path(cfg.work_dir, Path(own).name)
        own = str(here) if here.is_file() else own
    if cfg.get("load_from") is None:
        cfg.load_from = own
        return
    is_chosen = Path(cfg.load_from).resolve().parent == Path(cfg.work_dir).resolve()
    if own is not None and not is_chosen:
        print(f"Resuming from {own}, not from load_from={cfg.load_from}.")
        cfg.load_from = own
    elif not holds_training_state(read_checkpoint(cfg.load_from)):
        cfg.resume = False


def use_mixed_precision(optim_wrapper: ConfigDict) -> None:
    """Switch automatic mixed precision on, for one optimizer or for several by name.

    Without an accelerator it is bfloat16 on the CPU, which needs no scale of the losses.

    Args:
        optim_wrapper: Config of the optimizer wrapper, changed in place.

    Raises:
        ValueError: A wrapper is of another type than OptimWrapper, or its dtype is not one for this device.
    """
    on_cpu = get_device() == "cpu"
    amp = "CPUAmpOptimWrapper" if on_cpu else "AmpOptimWrapper"
    several = [part for part in optim_wrapper.values() if isinstance(part, dict) and "type" in part]
    # One wrapper has the optimizer's config among its entries; its own type may be left out.
    is_single = "type" in optim_wrapper or "optimizer" in optim_wrapper
    for wrapper in [optim_wrapper] if is_single else several:
        wrapper.setdefault("type", "OptimWrapper")
        if wrapper["type"] not in ("OptimWrapper", amp):
            raise ValueError(
                f"--amp needs optim_wrapper.type OptimWrapper, found {wrapper['type']}."
            )
        wrapper["type"] = amp
        if not on_cpu:
            wrapper.setdefault("loss_scale", "dynamic")
            continue
        wrapper.pop("loss_scale", None)
        dtype = wrapper.pop("dtype", "bfloat16")
        if dtype != "bfloat16":
            raise ValueError(
                f"--amp on a CPU is bfloat16, found optim_wrapper.dtype={dtype!r}: leave it out, or use a GPU."
            )
    if on_cpu:
        print(
            "--amp on a CPU: bfloat16, faster than single precision only where the CPU has instructions for it "
            "(avx512_bf16 or amx_bf16 in /proc/cpuinfo)."
        )
