"""Child processes that end when their starter stops, and folders that only one of them writes."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.2


class StoppedError(RuntimeError):
    """The starter was stopped while a process ran, or before it began."""


class Processes:
    """Runs commands, from several threads where wanted, and ends them all at once.

    Args:
        environment: Environment variables of the processes.
        folder: Their working directory.
    """

    def __init__(self, *, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = dict(environment)
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.stopped = False

    def run(self, command: Sequence[str], *, log: Path, lock: int | None = None) -> int | None:
        """Run a command to its end.

        Args:
            command: Program and arguments.
            log: File that its output is appended to.
            lock: Descriptor of a lock, see `locked`, that the process holds as long as it lives.

        Returns:
            Its exit status; None where it was stopped, or not started any more.
        """
        if self.stopped:
            return None
        with log.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                list(command),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=() if lock is None else (lock,),
            )
            self.processes.append(process)
            # A stop that came while the process started did not see it.
            if self.stopped:
                process.terminate()
            status = process.wait()
        return None if self.stopped else status

    def stop(self) -> None:
        """End all processes; safe to call twice."""
        self.stopped = True
        for process in self.processes:
            if process.poll() is None:
                process.terminate()


@contextmanager
def locked(
    path: Path, *, waiting: Callable[[], None], is_stopped: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Hold the lock of a folder; a process given the descriptor holds it too, even when this one is killed.

    Args:
        path: Lock file; made where missing, never removed.
        waiting: Called once where another process holds the lock, before waiting for it.
        is_stopped: Asked again and again while waiting: whether to give up.

    Yields:
        Descriptor of the lock.

    Raises:
        StoppedError: It gave up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        is_waiting = False
        while not _lock(handle):
            if not is_waiting:
                waiting()
                is_waiting = True
            if is_stopped():
                raise StoppedError(f"stopped while another process held {path}.")
            time.sleep(POLL_SECONDS)
        yield handle.fileno()


def _lock(handle: IO[str]) -> bool:
    """Take the lock of an open file, unless another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
