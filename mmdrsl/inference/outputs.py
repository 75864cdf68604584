"""What is written: the pictures of an image, and the folder of all predictions."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmdrsl.atomic_files import remove_leftovers, replacing, write_atomically
from mmdrsl.datasets.validation import files_below
from mmdrsl.inference.inputs import RECORDS, SETTINGS, Input
from mmdrsl.inference.overlay_video import TEMPORARY_PREFIX
from mmdrsl.inference.predictor import Prediction
from mmdrsl.visualization.colors import Palette

_SHARES = "shares.csv"
# Folder of an image's outputs, ending of their names; the labels are written last.
_ENDINGS = {"color": ".png", "overlay": ".jpg", "confidence": ".png", "labels": ".png"}
_VIDEO = ".mp4"
_OPACITY = 0.5
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
# Areas of one color become no smaller by a filter, which takes most of the time; OpenCV 4.11 has no choice.
_FLAT_PNG = (
    (*_PNG, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)
    if hasattr(cv2, "IMWRITE_PNG_FILTER")
    else _PNG
)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)


def overlay(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Blend an image with the colors of its classes.

    Args:
        image: Shape (H, W, 3), uint8.
        colors: Shape (H, W, 3), uint8, in the same order of channels.

    Returns:
        Shape (H, W, 3), uint8.
    """
    return np.asarray(cv2.addWeighted(image, 1 - _OPACITY, colors, _OPACITY, 0))


def color_bgr(labels: np.ndarray, palette: Palette) -> np.ndarray:
    """Draw a label map (H, W) in the colors of its classes: blue, green, red, shape (H, W, 3), uint8."""
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(palette)] = palette
    # Indexing by NumPy would keep the other threads waiting.
    return np.asarray(cv2.LUT(cv2.cvtColor(labels, cv2.COLOR_GRAY2BGR), table[..., ::-1].copy()))


class OutputFolder:
    """The folder of predictions.

    ``labels`` (train ids with the palette), ``color``, ``overlay`` and ``confidence`` hold a picture per image,
    ``overlay`` a video per video. An output appears at once and complete. ``settings.json`` says what made them,
    ``.inputs`` of which file each is the prediction. An input's record is written after its outputs and removed before
    they change, so that a record stands for outputs of one file.

    Args:
        root: The folder.
        palette: RGB color (0..255) per class.
        confidence: Whether the confidence belongs to an image's outputs.
    """

    def __init__(self, root: Path, *, palette: Palette, confidence: bool = False) -> None:
        self.root = root
        self.palette = palette
        self.kinds = [kind for kind in _ENDINGS if confidence or kind != "confidence"]
        self.shares_path = root / _SHARES
        self._records: dict[str, dict[str, Any]] = {}

    def path(self, item: Input, kind: str) -> Path:
        """Path of an output of an input; ``kind`` is its folder."""
        return self.root / kind / f"{item.name}{_VIDEO if item.is_video else _ENDINGS[kind]}"

    def _record_path(self, item: Input) -> Path:
        return self.root / RECORDS / f"{item.name}.json"

    def _paths_of_name(self, item: Input) -> list[Path]:
        """Every output that an image or a video of this name may have."""
        pictures = [self.root / kind / f"{item.name}{end}" for kind, end in _ENDINGS.items()]
        return [*pictures, self.root / "overlay" / f"{item.name}{_VIDEO}"]

    def begin(self, settings: dict, inputs: Sequence[Input], *, overwrite: bool = False) -> None:
        """Make the folder, or check that it holds predictions of the same settings and the same files.

        What a killed run was writing is removed: the caller writes the folder alone.

        Args:
            settings: What the predictions depend on, as plain types of JSON.
            inputs: What will be predicted.
            overwrite: Remove the outputs of these inputs.

        Raises:
            FileExistsError: The folder holds such folders that no prediction made.
            FileNotFoundError: An input is gone.
            ValueError: The folder holds predictions of other settings or, without `overwrite`, of another file of an
                input's name; or its settings are not of a prediction.
        """
        self._records = {item.name: _record_of(item) for item in inputs}
        marker = self.root / SETTINGS
        if not marker.is_file():
            strange = [kind for kind in (*_ENDINGS, _SHARES) if (self.root / kind).exists()]
            if strange:
                raise FileExistsError(
                    f"{self.root} holds {', '.join(strange)} and no {SETTINGS}, so that no prediction made them: "
                    "choose another folder for --out."
                )
        elif _read_settings(marker, settings) != settings:
            # Every input has an overlay.
            folder = self.root / "overlay"
            made = {folder / name for name in files_below(str(folder))}
            others = made - {path for item in inputs for path in self._paths_of_name(item)}
            if not overwrite or others:
                raise ValueError(
                    f"{self.root} holds predictions of another checkpoint or of other options ({marker}): choose "
                    "another folder for --out"
                    + (", or remove this one." if others else ", or give --overwrite.")
                )
            # Its columns may be other classes, and none of its rows has outputs that stay.
            self.shares_path.unlink(missing_ok=True)
        for item in inputs:
            if overwrite:
                for path in (self._record_path(item), *self._paths_of_name(item)):
                    path.unlink(missing_ok=True)
            else:
                self._check_record(item)
        self._remove_leftovers()
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, json.dumps(settings, indent=1))

    def _remove_leftovers(self) -> None:
        # Other folders in the root may be another writer's.
        for name in (SETTINGS, _SHARES):
            remove_leftovers(self.root, pattern=f".{name}.*.tmp")
        for kind in (*_ENDINGS, RECORDS):
            remove_leftovers(self.root / kind)
        for folder in list((self.root / "overlay").rglob(f"{TEMPORARY_PREFIX}*")):
            shutil.rmtree(folder)

    def is_complete(self, item: Input) -> bool:
        """Whether all outputs of an input, which `begin` was given, are there."""
        kinds = ["overlay"] if item.is_video else self.kinds
        return (
            all(self.path(item, kind).is_file() for kind in kinds)
            and self._read_record(item) == self._records[item.name]
        )

    @contextmanager
    def recording(self, item: Input) -> Iterator[None]:
        """Note of which file the outputs are that the block writes; a block that raises leaves no record."""
        path = self._record_path(item)
        path.unlink(missing_ok=True)
        yield
        # As the file was when the run began: what changes while it is predicted is noticed by the next run.
        _write(path, json.dumps(self._records[item.name]).encode())

    def _read_record(self, item: Input) -> dict[str, Any] | None:
        """Of which file the outputs are; None where nothing readable says so."""
        try:
            record = json.loads(self._record_path(item).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return record if isinstance(record, dict) and "path" in record else None

    def _check_record(self, item: Input) -> None:
        """Refuse the outputs of another file."""
        held, given = self._read_record(item), self._records[item.name]
        if held is None or held == given:
            return
        if not any(path.exists() for path in self._paths_of_name(item)):
            return
        if held["path"] == given["path"]:
            found = f"{item.path} changed since {self.root} got its prediction"
        else:
            found = f"{self.root} holds the prediction of {held['path']}, not of {given['path']}"
        raise ValueError(
            f"{item.name}: {found}: choose another folder for --out, or give --overwrite."
        )

    def read_labels(self, item: Input) -> np.ndarray:
        """Read the label map of an image that is complete, shape (H, W), uint8."""
        with Image.open(self.path(item, "labels")) as image:
            return np.asarray(image)

    def write_image(self, prediction: Prediction) -> Prediction:
        """Write the pictures of an image, whose key is its `Input`; threads may do so at once.

        Args:
            prediction: What was predicted.

        Returns:
            The same.

        Raises:
            OSError: The disk is full or refuses.
        """
        colors = color_bgr(prediction.labels, self.palette)
        contents = {
            "color": _encoded(".png", colors, _FLAT_PNG),
            "overlay": _encoded(".jpg", overlay(prediction.image, colors), _JPEG),
            "labels": _indexed_png(prediction.labels, self.palette),
        }
        if prediction.confidence is not None:
            contents["confidence"] = _encoded(".png", prediction.confidence, _PNG)
        with self.recording(prediction.key):
            for kind in self.kinds:
                _write(self.path(prediction.key, kind), contents[kind])
        return prediction


def _record_of(item: Input) -> dict[str, Any]:
    """What tells a file from another, and from itself after a change."""
    status = item.path.stat()
    return dict(path=str(item.path.resolve()), size=status.st_size, modified_ns=status.st_mtime_ns)


def _read_settings(marker: Path, expected: dict) -> dict:
    """Read the settings of a folder; refuse a file of another origin."""
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or (expected and expected.keys().isdisjoint(found)):
        raise ValueError(f"{marker} is not of a prediction: choose another folder for --out.")
    return found


def _write(path: Path, content: bytes) -> None:
    """Write a file whole; make its folder where there is none, which nearly always there is."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)


def _encoded(ending: str, picture: np.ndarray, options: Sequence[int]) -> bytes:
    return bytes(cv2.imencode(ending, picture, options)[1])


def _indexed_png(labels: np.ndarray, palette: Palette) -> bytes:
    """A PNG whose pixels are class ids and whose palette has their colors."""
    image = Image.fromarray(labels)
    image.putpalette([value for color in palette for value in color])
    content = io.BytesIO()
    image.save(content, "png", compress_level=1)
    return content.getvalue()
