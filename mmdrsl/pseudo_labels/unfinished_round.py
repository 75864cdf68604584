"""What a labeling run leaves behind for its continuation: cached predictions and records of finished images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor

from mmdrsl.atomic_files import replacing, write_atomically
from mmdrsl.pseudo_labels.artifact import UNFINISHED

IDENTITY = "identity.json"
THRESHOLDS = "thresholds.json"


class UnfinishedRound:
    """The hidden folder of a round that is being labeled; it goes when the round is complete.

    Args:
        root: Folder of the artifact.
        rank: Rank of this process; every rank appends to a file of its own.
    """

    def __init__(self, root: Path, rank: int) -> None:
        self.folder = root / UNFINISHED
        self.rank = rank
        self._file: TextIO | None = None
        self._remedy = f"remove {self.folder}, and the labeling starts again"

    def belongs_to(self, identity: dict) -> bool:
        """Whether the folder is of the same labeling: same model, settings, classes and images."""
        try:
            found: object = json.loads((self.folder / IDENTITY).read_text())
        except (OSError, ValueError):
            return False
        return found == json.loads(json.dumps(identity))

    def begin(self, identity: dict) -> None:
        """Make the folder and say what it belongs to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / IDENTITY, json.dumps(identity))

    def thresholds(self) -> Tensor | None:
        """Thresholds that an earlier attempt arrived at, shape (C,); None where it did not."""
        path = self.folder / THRESHOLDS
        if not path.is_file():
            return None
        try:
            return torch.tensor(json.loads(path.read_text(encoding="utf-8")), dtype=torch.float32)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} holds no thresholds ({error}): {self._remedy}.") from error

    def keep_thresholds(self, thresholds: Tensor) -> None:
        """Keep the thresholds for a continuation."""
        write_atomically(self.folder / THRESHOLDS, json.dumps(thresholds.tolist()))

    def _cache_path(self, index: int) -> Path:
        return self.folder / f"{index}.cache"

    def is_cached(self, index: int) -> bool:
        """Whether an image's prediction is there, whole."""
        return self._cache_path(index).is_file()

    def cache(self, index: int, description: dict[str, Any], maps: np.ndarray) -> None:
        """Store an image's prediction.

        Args:
            index: Index of the image in the dataset.
            description: What the second pass has to know about the image, plain types.
            maps: Half precision, shape (C, h, w).
        """
        header = json.dumps({"description": description, "shape": maps.shape})
        with replacing(self._cache_path(index)) as temporary, temporary.open("wb") as file:
            file.write(header.encode() + b"\n")
            file.write(np.ascontiguousarray(maps).data)

    def read(self, index: int) -> tuple[dict[str, Any], Tensor]:
        """A stored description and prediction, half precision."""
        path = self._cache_path(index)
        with path.open("rb") as file:
            line, content = file.readline(), bytearray(file.read())
        try:
            header = json.loads(line)
            maps = torch.from_numpy(np.frombuffer(content, dtype=np.float16))
            return dict(header["description"]), maps.reshape(header["shape"])
        except (ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
            raise ValueError(f"{path} holds no prediction ({error}): {self._remedy}.") from error

    def forget(self, index: int) -> None:
        """Remove a stored prediction."""
        self._cache_path(index).unlink(missing_ok=True)

    def record(self, entry: dict[str, Any]) -> None:
        """Note that an image's files are written; the line is the proof."""
        if self._file is None:
            # A line that a kill cut off must not swallow the next one.
            self._file = (self.folder / f"records_{self.rank}.jsonl").open("a")
            self._file.write("\n")
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def records(self) -> Iterator[dict[str, Any]]:
        """Records of all ranks, of this attempt and of earlier ones; lines that a kill cut off are left out."""
        for path in sorted(self.folder.glob("records_*.jsonl")):
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                    except (ValueError, RecursionError):
                        continue
                    if isinstance(entry, dict):
                        yield entry

    def close(self) -> None:
        """Close the file of records."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove the folder."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
