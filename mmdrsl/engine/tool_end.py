"""How a command line tool ends that is stopped, or whose disk is full."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mmengine.runner import find_latest_checkpoint

from mmdrsl.atomic_files import DiskFullError, is_disk_full
from mmdrsl.folder_lock import written_alone

INTERRUPTED = 130
_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}


@contextmanager
def writing(
    folder: str | Path,
    *,
    tool: str,
    launcher: str = "none",
    alone: bool = True,
    go_on: Callable[[], str] = lambda: "the same command continues",
) -> Iterator[None]:
    """Let a tool write a folder alone, and end in a line that says how to go on.

    Args:
        folder: The folder; the first rank holds its lock.
        tool: Name of the tool.
        launcher: MMEngine launcher name.
        alone: Refuse a folder that another process writes.
        go_on: Says how to go on after Ctrl-C.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: Another process writes the folder.
        DiskFullError: The disk is full.
        SystemExit: The user stopped the tool; the exit status is 130.
    """
    folder = Path(folder)
    is_first = int(os.environ.get(_RANKS.get(launcher, ""), "0")) == 0
    try:
        with written_alone(folder) if is_first and alone else nullcontext():
            yield
    except KeyboardInterrupt:
        if is_first:
            print(f"\n{tool}: stopped; {go_on()}", file=sys.stderr, flush=True)
        raise SystemExit(INTERRUPTED) from None
    except (OSError, RuntimeError) as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        # MMEngine's logs and others' files: the error says of itself at most which file it was.
        raise DiskFullError(Path(getattr(error, "filename", None) or folder)) from error


def how_to_resume(work_dir: str | Path) -> str:
    """Say how a training that was stopped goes on."""
    last = find_latest_checkpoint(str(work_dir))
    if last is None:
        return f"{work_dir} holds no checkpoint yet: the same command starts again"
    return f"the same command with --resume continues from {last}"
