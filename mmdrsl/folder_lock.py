"""One process writes a folder at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
# What an empty folder may hold: our lock, and what a file system puts into its own root.
OF_ANY_FOLDER = frozenset({LOCK, "lost+found"})
# Folders that this process writes already: a tool holds the lock of what a part of it writes.
_held: set[Path] = set()


@contextmanager
def written_alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process however it ends; within one process it may be held again.

    Args:
        folder: The folder; made where it is missing. It may be a link to a folder, or a mount point.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: Another process holds it.
        NotADirectoryError: There is something else of that name.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"{folder} is no folder, or a link to none: name a folder, or a new name."
        ) from error
    path = folder.resolve() / LOCK
    if path in _held:
        yield
        return
    descriptor = _take(path)
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        # First the name, then the lock: whoever opened the file before sees that it is gone.
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)
        if is_new and not any(path.parent.iterdir()):
            # What failed before it wrote anything leaves nothing.
            path.parent.rmdir()


def _take(path: Path) -> int | None:
    """Open and lock a file; return its descriptor, None where nothing can be written and hence nothing mixed."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or path.exists():
                raise
            return None
        try:
            # Of the process, not of the descriptor: loader processes that outlive a killed run do not hold it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                # The file system has no locks.
                return descriptor
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise BlockingIOError(
                f"Another process is writing {path.parent} (it holds {path}): wait until it has ended, or choose "
                "another folder."
            ) from error
        if _is_name_of(path, descriptor):
            return descriptor
        # The process that held it has just removed it.
        os.close(descriptor)


def _is_name_of(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
