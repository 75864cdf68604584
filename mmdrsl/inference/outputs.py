"""What is written: the pictures of an image, and the folder of all predictions."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmdrsl.atomic_files import replacing, write_atomically
from mmdrsl.datasets.validation import files_below
from mmdrsl.inference.inputs import Input
from mmdrsl.inference.predictor import Prediction
from mmdrsl.visualization.colors import Palette

_SETTINGS = "settings.json"
_SHARES = "shares.csv"
# Folder of an image's outputs, ending of their names; the labels are written last.
_ENDINGS = {"color": ".png", "overlay": ".jpg", "confidence": ".png", "labels": ".png"}
_OPACITY = 0.5
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
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
    ``overlay`` a video per video. An output appears at once and complete. ``settings.json`` says what made them.

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

    def path(self, item: Input, kind: str) -> Path:
        """Path of an output of an input; ``kind`` is its folder."""
        return self.root / kind / f"{item.name}{'.mp4' if item.is_video else _ENDINGS[kind]}"

    def begin(self, settings: dict, inputs: Sequence[Input], *, overwrite: bool = False) -> None:
        """Make the folder, or check that it holds predictions of the same settings.

        Args:
            settings: What the predictions depend on, as plain types of JSON.
            inputs: What will be predicted.
            overwrite: Remove the outputs of these inputs.

        Raises:
            FileExistsError: The folder holds such folders that no prediction made.
            ValueError: It holds predictions of other settings.
        """
        marker = self.root / _SETTINGS
        if not marker.is_file():
            strange = [kind for kind in (*_ENDINGS, _SHARES) if (self.root / kind).exists()]
            if strange:
                raise FileExistsError(
                    f"{self.root} holds {', '.join(strange)} and no {_SETTINGS}, so that no prediction made them: "
                    "choose another folder for --out."
                )
        elif json.loads(marker.read_text(encoding="utf-8")) != settings:
            # Every input has an overlay.
            folder = self.root / "overlay"
            made = {folder / name for name in files_below(str(folder))}
            others = made - {self.path(item, "overlay") for item in inputs}
            if not overwrite or others:
                raise ValueError(
                    f"{self.root} holds predictions of another checkpoint or of other options ({marker}): choose "
                    "another folder for --out"
                    + (", or remove this one." if others else ", or give --overwrite.")
                )
        if overwrite:
            for item in inputs:
                for kind in ["overlay"] if item.is_video else _ENDINGS:
                    self.path(item, kind).unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, json.dumps(settings, indent=1))

    def is_complete(self, item: Input) -> bool:
        """Whether all outputs of an input are there."""
        kinds = ["overlay"] if item.is_video else self.kinds
        return all(self.path(item, kind).is_file() for kind in kinds)

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
            "color": _encoded(".png", colors, _PNG),
            "overlay": _encoded(".jpg", overlay(prediction.image, colors), _JPEG),
            "labels": _indexed_png(prediction.labels, self.palette),
        }
        if prediction.confidence is not None:
            contents["confidence"] = _encoded(".png", prediction.confidence, _PNG)
        for kind in self.kinds:
            path = self.path(prediction.key, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(contents[kind])
        return prediction


def _encoded(ending: str, picture: np.ndarray, options: Sequence[int]) -> bytes:
    return bytes(cv2.imencode(ending, picture, options)[1])


def _indexed_png(labels: np.ndarray, palette: Palette) -> bytes:
    """A PNG whose pixels are class ids and whose palette has their colors."""
    image = Image.fromarray(labels)
    image.putpalette([value for color in palette for value in color])
    content = io.BytesIO()
    image.save(content, "png", compress_level=1)
    return content.getvalue()
