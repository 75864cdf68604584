"""Files that a reader sees whole or not at all, what a full disk means for them, and the hash of a file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

# No space, no space of this user, or a file larger than this process may write.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# PyTorch's writer of zip files tells that it failed, not why.
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter")
_TEMPORARY = re.compile(r"\..+\.\d+-\d+\.tmp")


class DiskFullError(OSError):
    """A disk is full.

    Args:
        path: The file that could not be written, or the folder.
        remedy: A sentence about how to need less.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        advice = f"Free some space there and start the same command again. {remedy}".strip()
        super().__init__(
            errno.ENOSPC, f"The disk of {path} is full, so that it was not written. {advice}"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file; after the block the file has taken its place.

    Args:
        path: The file that is to be written or replaced.

    Yields:
        Where to write. It is removed where the block raises.

    Raises:
        DiskFullError: The disk is full; what the file held before is still there.
    """
    # Of this writer alone: two may write at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    # An interruption, too, leaves nothing behind.
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError | RuntimeError) and is_disk_full(error):
            raise DiskFullError(path) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written to a disk."""
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    return any(name in str(error) for name in _TORCH_WRITER)


def remove_leftovers(folder: Path, *, pattern: str = "**/.*.tmp") -> None:
    """Remove what `replacing` left in a folder where a kill came.

    Args:
        folder: The folder.
        pattern: Which of its files; nobody else may be writing these.
    """
    for path in folder.glob(pattern):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, *, kind: str, remedy: str) -> dict[str, Any]:
    """Read a file that holds one object of JSON, whatever else it may turn out to hold.

    Args:
        path: The file.
        kind: What it should be, for the message.
        remedy: What to do where it is something else, a sentence without its full stop.

    Returns:
        The object.

    Raises:
        ValueError: It holds no JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no {kind} ({error}). {remedy}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no {kind} (found {str(content)[:60]}). {remedy}.")
    return content


def is_number(value: object) -> bool:
    """Whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
