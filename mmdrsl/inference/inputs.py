"""What is predicted: the images and videos that files, folders and glob patterns name."""

from __future__ import annotations

import functools
import glob
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from mmdrsl.datasets.left_out import (
    IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    count_endings,
    left_out_message,
)
from mmdrsl.datasets.validation import files_below, refuse_unread
from mmdrsl.datasets.video import VIDEO_SUFFIXES

SETTINGS, RECORDS = "settings.json", ".inputs"
"""What each folder of predictions holds: a file that says what made them, and a folder of a small file for each input,
so that noting one costs the same however many there are."""


@dataclass(frozen=True)
class Input:
    """An image or a video.

    Attributes:
        name: What its outputs are named by: relative path without extension, '/' as separator.
        path: The file.
    """

    name: str
    path: Path

    @property
    def is_video(self) -> bool:
        """Whether the file is a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_inputs(given: Sequence[str], *, out: Path) -> list[Input]:
    """Find the images and videos.

    A file is named by itself, a file of a folder by its path below the folder, a match of a pattern by its path below
    the part without wildcards. Images and videos of other endings and outputs of earlier predictions are left out and
    counted in a warning.

    Args:
        given: Files, folders with their sub-folders, and patterns such as ``data/**/*.png``.
        out: Folder of the outputs; what lies in it is no input.

    Returns:
        Images and videos in the order given, files of a folder sorted, each once.

    Raises:
        FileNotFoundError: There is no such file or folder, or no match of a pattern.
        PermissionError: A folder cannot be read.
        ValueError: A file is neither image nor video, a folder holds none, two inputs have one name, or a name is not
            UTF-8.
    """
    own, found = out.resolve(), dict[str, Input]()
    for text in given:
        paths = list(_named_by(text, own))
        if not paths:
            raise ValueError(
                f"{text} holds no image or video: expected files ending in {_endings()}, outside of {out}."
            )
        for name, path in paths:
            _check_name(name, path)
            known = found.setdefault(name, Input(name, path))
            if known.path.resolve() != path.resolve():
                raise ValueError(
                    f"The outputs of {known.path} and {path} would both be named {name}: "
                    f"{_how_to_tell_apart(known.path, path)}."
                )
    return list(found.values())


def _named_by(text: str, own: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths of what one argument means; what a folder or pattern has in the folder `own` is left out."""
    path = Path(text)
    if path.is_file():
        if not _is_input(path):
            raise ValueError(
                f"{path} is neither an image nor a video: expected a file ending in {_endings()}."
            )
        yield path.stem, path
        return
    if path.is_dir():
        folder, files = path, [path / name for name in sorted(files_below(text))]
    elif glob.has_magic(text):
        files = [Path(match) for match in _matches(text)]
        parts = Path(text).parts
        first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        folder = Path(*parts[:first])
    else:
        files = []
    if not files:
        raise FileNotFoundError(
            f"There is no file in {text}, or it does not exist: give images, videos, folders, or a pattern in quotes."
        )
    files = [file for file in files if not file.resolve().is_relative_to(own)]
    holds_predictions = functools.cache(_holds_predictions)
    outputs = {
        file
        for file in files
        if _is_input(file)
        and any(holds_predictions(folder / place) for place in file.relative_to(folder).parents)
    }
    if outputs:
        message = (
            f"{len(outputs)} files in {text} are not taken, since they are outputs of an earlier prediction. Name them "
            "or the folder they lie in to predict them"
        )
        print_log(message, logger="current", level=logging.WARNING)
    for file in files:
        if _is_input(file) and file not in outputs:
            yield file.relative_to(folder).with_suffix("").as_posix(), file
    others = count_endings(
        file.name for file in files if file.suffix.lower() in OTHER_IMAGE_SUFFIXES
    )
    if others:
        message = left_out_message(text, others, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
        print_log(message, logger="current", level=logging.WARNING)


def _how_to_tell_apart(first: Path, second: Path) -> str:
    if first.parent != second.parent:
        return "predict them with two values of --out, or give a folder that holds both"
    patterns = [str(path.with_name(f"*{path.suffix}")) for path in (first, second)]
    return f"predict them by two patterns, {patterns[0]!r} and {patterns[1]!r}, with two values of --out"


def _check_name(name: str, path: Path) -> None:
    """Refuse a name that no table can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The name of {str(path)!a} is not UTF-8, which the table of shares is written in: rename the file or "
            "its folder."
        ) from error


def _matches(pattern: str) -> list[str]:
    """Matches of a pattern, sorted; `glob` alone would leave out folders that it cannot read."""
    parts = Path(pattern).parts
    for end in range(1, len(parts)):
        for folder in glob.glob(os.path.join(*parts[:end]), recursive=True):
            try:
                if os.path.isdir(folder):
                    os.scandir(folder).close()
            except OSError as error:
                refuse_unread(error)
    return sorted(glob.glob(pattern, recursive=True))


def _holds_predictions(folder: Path) -> bool:
    return (folder / SETTINGS).is_file() and (folder / RECORDS).is_dir()


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _endings() -> str:
    return ", ".join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
