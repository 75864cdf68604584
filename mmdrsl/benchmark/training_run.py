"""One training as a process: its config, folder, command and log."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmdrsl.installation import files_root

LOG_LINES_SHOWN = 30
ROOT = files_root()


class TrainingError(RuntimeError):
    """A process ended with an error."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A training that `tools/train.py` does in a process of its own.

    Attributes:
        title: How messages call it.
        cfg: Its config.
        config_file: Where that config is written.
        folder: Its work folder.
        first_step: Step at which it starts: 0, or the end of a warm-up that another run trains.
        warmup_checkpoint: Checkpoint with which the run goes on from there, None where it has a warm-up of its own.
    """

    title: str
    cfg: Config
    config_file: Path
    folder: Path
    first_step: int = 0
    warmup_checkpoint: Path | None = None

    @property
    def max_steps(self) -> int:
        """Length of the run."""
        return int(self.cfg.train_cfg.max_iters)

    @property
    def checkpoint(self) -> Path:
        """The final checkpoint."""
        return self.folder / f"iter_{self.max_steps}.pth"

    @property
    def log(self) -> Path:
        """What the training process prints."""
        return self.folder / "train.log"

    @property
    def has_begun(self) -> bool:
        """Whether the run has a checkpoint of its own to continue from."""
        return (self.folder / "last_checkpoint").is_file()

    def command(self) -> list[str]:
        """Command that starts the run, or continues it from its last checkpoint."""
        command = [sys.executable, str(ROOT / "tools/train.py"), str(self.config_file)]
        command += ["--work-dir", str(self.folder), "--resume"]
        if self.warmup_checkpoint is not None and not self.has_begun:
            # Resumes from it: step, optimizer and schedule go on where the warm-up ended.
            command += ["--load-from", str(self.warmup_checkpoint)]
        return command

    def failure_message(self, status: int | None) -> str:
        """Say that the run failed, where its log is and how that ends.

        Args:
            status: Exit status of its process.

        Returns:
            The message.
        """
        return failure_message(self.title, self.log, status)


def failure_message(title: str, log: Path, status: int | None) -> str:
    """Say what failed, where its log is and how that ends.

    Args:
        title: What failed.
        log: Its log.
        status: Exit status of its process.

    Returns:
        The message.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(
        [
            f"{title} failed with exit status {status}. The log ends with:",
            *lines[-LOG_LINES_SHOWN:],
            f"The whole log: {log}",
        ]
    )


def fingerprint(parts: Sequence[str]) -> str:
    """Hash of everything that a run's result depends on.

    Args:
        parts: Texts: version, config, what identifies the data.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
