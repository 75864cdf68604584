"""The artefact of a labelling round: a folder that can be browsed, checked, reused and shared.

``labels/<id>.png`` (train ids, 255 = ignore), ``color/<id>.png``, ``confidence/<id>.png`` (0..255 for 0..1), and
``manifest.json``, which is written last: a folder without it is unfinished.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RoundManifest:
    """What a round's labels are and where they came from.

    Attributes:
        round: Number of the round, from 1.
        model_hash: Hash of the weights that made the labels.
        classes: Class names; the index is the label value.
        policy: Name and settings of the label policy and of the inference.
        thresholds: Confidence threshold per class name.
        kept_share: Share of labelled pixels among those predicted, per class name.
        coverage: Share of all pixels that got a label.
        images: Hash of the label file of each image id.
    """

    round: int
    model_hash: str
    classes: list[str]
    policy: dict
    thresholds: dict[str, float]
    kept_share: dict[str, float]
    coverage: float
    images: dict[str, str]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


class PseudoLabelArtefact:
    """One round's folder.

    Args:
        root: The folder; made when the first image is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def label_path(self, image_id: str) -> Path:
        """Path of an image's label file."""
        return self.root / "labels" / f"{image_id}.png"

    def clear(self) -> None:
        """Remove whatever an unfinished or outdated round left behind."""
        if self.root.exists():
            shutil.rmtree(self.root)

    def write_image(
        self, image_id: str, labels: np.ndarray, confidence: np.ndarray, palette: list
    ) -> str:
        """Write one image's label, colour and confidence files.

        Args:
            image_id: Relative path of the image without its ending.
            labels: Train ids, shape (H, W), uint8.
            confidence: Shape (H, W), in [0, 1].
            palette: RGB triple per class.

        Returns:
            Hash of the label file.
        """
        color = Image.fromarray(labels)
        color.putpalette(
            [value for rgb in palette for value in rgb] + [0] * (768 - 3 * len(palette))
        )
        scaled = np.round(np.clip(confidence, 0, 1) * 255).astype(np.uint8)
        files = {
            "labels": Image.fromarray(labels),
            "color": color,
            "confidence": Image.fromarray(scaled),
        }
        for folder, image in files.items():
            path = self.root / folder / f"{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, compress_level=1)
        return file_hash(self.label_path(image_id))

    def finish(self, manifest: RoundManifest) -> None:
        """Write the manifest, which makes the round complete."""
        text = json.dumps({"format": FORMAT_VERSION, **asdict(manifest)}, indent=1)
        write_atomically(self.root / MANIFEST, text)

    def read_manifest(self) -> RoundManifest | None:
        """Return the manifest, or None where the round is not complete.

        Raises:
            ValueError: The manifest cannot be read or has another format.
        """
        path = self.root / MANIFEST
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text())
            version = content.pop("format")
            if version != FORMAT_VERSION:
                raise ValueError(f"format {version}, expected {FORMAT_VERSION}")
            return RoundManifest(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a manifest of pseudo labels ({error}). Delete {self.root} to label again."
            ) from error

    def problems(self, manifest: RoundManifest) -> list[str]:
        """Names of label files that are missing or differ from the manifest."""
        found = []
        for image_id, expected in manifest.images.items():
            path = self.label_path(image_id)
            if not path.is_file():
                found.append(f"{path}: missing")
            elif file_hash(path) != expected:
                found.append(f"{path}: content differs from the manifest")
        return found
