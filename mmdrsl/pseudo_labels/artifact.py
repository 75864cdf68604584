"""The artifact of a labeling round: a folder that can be browsed, checked, reused and shared.

``labels/<id>.png`` (train ids, 255 = ignore), ``color/<id>.png``, ``confidence/<id>.png`` (0..255 for 0..1), and
``manifest.json``, which is written last: a folder without it is unfinished.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmdrsl.atomic_files import (
    file_hash,
    is_number,
    read_json,
    remove_leftovers,
    replacing,
    write_atomically,
)
from mmdrsl.folder_lock import OF_ANY_FOLDER

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
FOLDERS = ("labels", "color", "confidence")
# Of a labeling that goes on, see `UnfinishedRound`.
UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class RoundManifest:
    """What a round's labels are and where they came from.

    Attributes:
        round: Number of the round, from 1.
        model_hash: Hash of the weights that made the labels.
        classes: Class names; the index is the label value.
        policy: Name and settings of the label policy, of the views, and of where thresholds come from.
        thresholds: Threshold per class name, on the policy's score.
        kept_share: Share of labeled pixels among those predicted, per class name.
        coverage: Share of all pixels that got a label.
        images: Hash of the label file of each image id.
        scores: Label-free scores of the round, means over the images: ``entropy`` (in [0, 1]),
            ``soft_neighborhood_density`` (nats), and ``agreement`` with the round before where there is one: the share
            of equal labels among the pixels that both rounds label.
    """

    round: int
    model_hash: str
    classes: list[str]
    policy: dict
    thresholds: dict[str, float]
    kept_share: dict[str, float]
    coverage: float
    images: dict[str, str]
    scores: dict[str, float] = field(default_factory=dict)


def check_inside(root: Path, image_id: str) -> None:
    """Refuse the name of an image that would lead out of a folder of results.

    Args:
        root: The folder.
        image_id: Relative path of the image without its ending.

    Raises:
        ValueError: It is absolute or has ``..`` in it.
    """
    path = Path(image_id)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"the image id {image_id!r} leads out of {root}: expected a path relative to the images' folder."
        )


class PseudoLabelArtifact:
    """One round's folder.

    Args:
        root: The folder; made when the first image is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def label_path(self, image_id: str) -> Path:
        """Path of an image's label file."""
        return self._path("labels", image_id)

    def _path(self, folder: str, image_id: str) -> Path:
        check_inside(self.root, image_id)
        return self.root / folder / f"{image_id}.png"

    def clear(self) -> None:
        """Remove whatever an unfinished or outdated round left behind, and nothing else.

        Raises:
            FileExistsError: The folder holds files, but no round was ever begun in it.
        """
        if not self.root.exists():
            return
        remove_leftovers(self.root)
        present = {path.name for path in self.root.iterdir()} - OF_ANY_FOLDER
        # Of a finished round that lost its manifest the three folders are left.
        is_ours = bool(present & {MANIFEST, UNFINISHED}) or set(FOLDERS) <= present
        if present and not is_ours:
            raise FileExistsError(
                f"{self.root} holds {sorted(present)[:5]}, which are no pseudo labels: name a folder that does not "
                "exist or is empty."
            )
        # What marks the folder goes last: a kill in between leaves one that can be cleared.
        for folder in (*FOLDERS, UNFINISHED):
            if folder in present:
                shutil.rmtree(self.root / folder)
        (self.root / MANIFEST).unlink(missing_ok=True)
        if not any(self.root.iterdir()):
            # Not where it is a link, a mount point, or another's.
            with suppress(OSError):
                self.root.rmdir()

    def clear_leftovers(self) -> None:
        """Remove what a kill left in a complete round."""
        remove_leftovers(self.root)
        shutil.rmtree(self.root / UNFINISHED, ignore_errors=True)

    def write_image(
        self, image_id: str, labels: np.ndarray, confidence: np.ndarray, palette: list
    ) -> str:
        """Write one image's label, color and confidence files.

        Args:
            image_id: Relative path of the image without its ending.
            labels: Train ids, shape (H, W), uint8.
            confidence: Shape (H, W), in [0, 1], or uint8 in 0..255.
            palette: RGB triple per class.

        Returns:
            Hash of the label file.

        Raises:
            DiskFullError: The disk is full; no part of the file is left.
            ValueError: The id leads out of the folder.
        """
        color = Image.fromarray(labels)
        color.putpalette(
            [value for rgb in palette for value in rgb] + [0] * (768 - 3 * len(palette))
        )
        if confidence.dtype != np.uint8:
            confidence = np.round(np.clip(confidence, 0, 1) * 255).astype(np.uint8)
        files = {
            "color": color,
            "confidence": Image.fromarray(confidence),
            "labels": Image.fromarray(labels),
        }
        digest = ""
        for folder, image in files.items():
            path = self._path(folder, image_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded = io.BytesIO()
            image.save(encoded, "png", compress_level=1)
            with replacing(path) as temporary:
                temporary.write_bytes(encoded.getbuffer())
            digest = hashlib.sha256(encoded.getbuffer()).hexdigest()
        return digest

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
        remedy = f"Delete {self.root} to label again"
        content = read_json(path, kind="manifest of pseudo labels", remedy=remedy)
        try:
            version = content.pop("format", None)
            if version != FORMAT_VERSION:
                raise ValueError(f"format {version!r}, expected {FORMAT_VERSION}")
            manifest = RoundManifest(**content)
            _check_types(manifest)
            for image_id in manifest.images:
                check_inside(self.root, image_id)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} is no manifest of pseudo labels ({error}). {remedy}."
            ) from error
        return manifest

    def problems(self, manifest: RoundManifest) -> list[str]:
        """Names of label files that are missing or differ from the manifest, with the reason."""
        return list(self._damaged(manifest).values())

    def _damaged(self, manifest: RoundManifest) -> dict[str, str]:
        found = {}
        for image_id, expected in manifest.images.items():
            path = self.label_path(image_id)
            if not path.is_file():
                found[image_id] = f"{path}: missing"
            elif file_hash(path) != expected:
                found[image_id] = f"{path}: {_what_is_wrong(path)}"
        return found

    def check(
        self,
        manifest: RoundManifest | None,
        *,
        classes: Sequence[str],
        images: Mapping[str, Path],
        model_hash: str | None = None,
    ) -> list[str]:
        """Everything that keeps the artifact from being the labels of these images.

        Args:
            manifest: The manifest that was read, or None where there is none.
            classes: Class names expected.
            images: Image file of each image id that needs a label.
            model_hash: Hash of the model that must have made the labels; None accepts any.

        Returns:
            Problems, each with the file's name; empty where the artifact fits.
        """
        if manifest is None:
            return [f"{self.root}: no {MANIFEST}, so the labeling was never completed"]
        found = []
        if model_hash is not None and manifest.model_hash != model_hash:
            found.append(
                f"{self.root / MANIFEST}: made by another model ({manifest.model_hash[:12]}, expected "
                f"{model_hash[:12]})"
            )
        if manifest.classes != list(classes):
            found.append(
                f"{self.root / MANIFEST}: made for the classes {manifest.classes}, expected {list(classes)}"
            )
        others = sorted(manifest.images.keys() - images.keys())
        if others:
            found.append(
                f"{self.root / MANIFEST}: labels {len(manifest.images)} images, the data set has {len(images)} and not "
                f"{others[:3]}"
            )
        found += [
            f"{self.label_path(name)}: not in the manifest"
            for name in images
            if name not in manifest.images
        ]
        damaged = self._damaged(manifest)
        found += damaged.values()
        for image_id, image_path in images.items():
            path = self.label_path(image_id)
            if image_id in manifest.images and image_id not in damaged:
                label_size, image_size = _size_of(path), _size_of(image_path)
                if label_size != image_size:
                    found.append(
                        f"{path}: size {label_size}, but {image_path} has {image_size} (width, height)"
                    )
        return found


def _check_types(manifest: RoundManifest) -> None:
    """Refuse a manifest whose entries are of another kind, or speak of classes that it does not name."""
    shares = {"thresholds", "kept_share", "scores"}
    for name, value in asdict(manifest).items():
        if name in shares:
            fits = isinstance(value, dict) and all(map(is_number, value.values()))
            fits = fits and (name == "scores" or value.keys() <= set(manifest.classes))
        elif name == "images":
            fits = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
        elif name == "classes":
            fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
        elif name == "coverage":
            fits = is_number(value)
        else:
            kind = {"round": int, "model_hash": str, "policy": dict}[name]
            fits = isinstance(value, kind) and not isinstance(value, bool)
        if not fits:
            raise ValueError(f"{name} is {str(value)[:60]}")


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height from the header of an image file."""
    with Image.open(path) as image:
        return image.size


def _what_is_wrong(path: Path) -> str:
    """Why a label file is not the one that was written."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return "truncated or no PNG"
    return "content differs from the manifest"
