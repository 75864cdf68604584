"""The table of how many pixels of an image or frame each class has."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from mmdrsl.atomic_files import write_atomically

_KEYS = ("name", "frame")
_OF_IMAGE = -1


class Shares:
    """Shares of pixels by image or frame, kept in a CSV file.

    Columns are ``name``, ``frame`` (empty for an image) and the classes; shares are in [0, 1].

    Args:
        path: The file; its rows are read where it exists.
        classes: Names of the columns.

    Raises:
        ValueError: The file has other columns, or rows of something else.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        self._header = [*_KEYS, *classes]
        self._rows: dict[tuple[str, int], list[str]] = {}
        if not path.is_file():
            return
        try:
            with path.open(encoding="utf-8", newline="") as file:
                header, *rows = list(csv.reader(file)) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            header, rows = [f"(unreadable: {error})"], []
        if header != self._header or not all(map(self._is_row, rows)):
            raise ValueError(
                f"{path} has the columns {header[:5]}..., expected {self._header[:5]}... and complete rows of shares: "
                "remove it, or choose another folder."
            )
        for name, frame, *values in rows:
            self._rows[name, int(frame) if frame else _OF_IMAGE] = values

    def _is_row(self, row: Sequence[str]) -> bool:
        if len(row) != len(self._header) or not (row[1] == "" or row[1].isdecimal()):
            return False
        # As `add` writes them.
        return all(re.fullmatch(r"[01]\.[0-9]{6}", value) for value in row[len(_KEYS) :])

    def add(self, name: str, labels: np.ndarray, *, frame: int = _OF_IMAGE) -> None:
        """Count the pixels of an image or frame.

        Args:
            name: Name of the image or video.
            labels: Train ids, shape (H, W), uint8.
            frame: Number of the frame, >= 0; left out for an image.
        """
        counts = np.bincount(labels.ravel(), minlength=len(self._header) - len(_KEYS))
        self._rows[name, frame] = [f"{count / labels.size:.6f}" for count in counts]

    def discard(self, names: Collection[str]) -> None:
        """Forget images and videos, in the file too, so that no row outlives the outputs it describes.

        Args:
            names: Names of images and videos, which may be unknown.
        """
        kept = {key: values for key, values in self._rows.items() if key[0] not in names}
        if len(kept) < len(self._rows):
            self._rows = kept
            self.save()

    def __contains__(self, name: str) -> bool:
        return (name, _OF_IMAGE) in self._rows or (name, 0) in self._rows

    def save(self) -> None:
        """Write the file, sorted by name and frame."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._header)
        for (name, frame), values in sorted(self._rows.items()):
            writer.writerow([name, "" if frame == _OF_IMAGE else frame, *values])
        write_atomically(self.path, text.getvalue())
