"""The artifact of a translation: ``images/<sample_id>.png`` (or ``.jpg``) and, written last, ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from mmdrsl.atomic_files import file_hash, read_json, replacing, write_atomically
from mmdrsl.pseudo_labels.artifact import check_inside
from mmdrsl.translation.functional import Picture

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
IMAGES = "images"
_UNFINISHED = ".unfinished"
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class TranslatedImage:
    """What a manifest says about one image.

    Attributes:
        file: Path of the translation relative to the folder.
        sha256: Hash of that file.
        source: Name of the original file, without its folder.
        source_sha256: Hash of the original file.
        width: Width of both in pixels.
        height: Height of both in pixels.
        reference: Sample id of the target image that it borrows from; None where it borrows from none.
    """

    file: str
    sha256: str
    source: str
    source_sha256: str
    width: int
    height: int
    reference: str | None


class TranslatedFolder:
    """One translated set on disk.

    While it is being made, each rank appends a line for every finished image to ``.unfinished/<rank>.jsonl``; an
    interrupted translation continues from them, with any number of ranks.

    Args:
        root: The folder; made by `begin`.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest (``settings``, ``images`` by sample id), or None where the set is not complete.

        Raises:
            ValueError: The manifest cannot be read or has another format.
        """
        path = self.root / MANIFEST
        if not path.is_file():
            return None
        kind, remedy = "manifest of translated images", f"Remove {self.root} to translate again"
        content = read_json(path, kind=kind, remedy=remedy)
        try:
            if content.get("format") != FORMAT_VERSION:
                raise ValueError(f"format {content.get('format')!r}, expected {FORMAT_VERSION}")
            settings, entries = content["settings"], content["images"]
            if not isinstance(settings, dict) or not isinstance(entries, dict):
                raise ValueError("its settings or images are no objects")
            images = {name: self._entry(entry) for name, entry in entries.items()}
            for name in images:
                check_inside(self.root, name)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no {kind} ({error}). {remedy}.") from error
        return {"settings": settings, "images": images}

    def _entry(self, values: dict[str, Any]) -> TranslatedImage:
        """Make an entry of what a manifest or a note says.

        Raises:
            ValueError: A value is of another kind, or the file lies outside of the folder.
            TypeError: There are other values.
        """
        entry = TranslatedImage(**values)
        names = (entry.file, entry.sha256, entry.source, entry.source_sha256)
        sides = (entry.width, entry.height)
        if (
            not all(isinstance(name, str) for name in names)
            or not all(type(side) is int and side > 0 for side in sides)
            or not isinstance(entry.reference, str | None)
        ):
            raise ValueError(f"an image is {str(values)[:100]}")
        check_inside(self.root, entry.file)
        return entry

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Say what is being translated how, or check that it is what was begun before.

        Args:
            settings: What decides the translations, in JSON types.

        Raises:
            ValueError: The folder was made or begun with other settings, or holds images of unknown origin.
        """
        wanted = json.loads(json.dumps(settings))
        manifest = self.read_manifest()
        note = self.root / _UNFINISHED / _SETTINGS
        if manifest is not None:
            found = manifest["settings"]
        elif note.is_file():
            found = read_json(
                note, kind="note of a translation", remedy=f"Remove {self.root} to translate again"
            )
        elif (self.root / IMAGES).exists():
            found = None
        else:
            found = wanted
        if found != wanted:
            raise ValueError(
                f"{self.root} was made with the settings {found}, expected {wanted}. Choose another folder, or remove "
                "this one to translate again."
            )
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps(wanted))

    def recorded(self) -> list[tuple[str, TranslatedImage]]:
        """What manifest and notes say, by sample id; an image may be noted more than once."""
        manifest = self.read_manifest()
        return [*([] if manifest is None else manifest["images"].items()), *self._notes()]

    def holds(self, entry: TranslatedImage) -> bool:
        """Whether an image is there as it was written."""
        path = self.root / entry.file
        return path.is_file() and file_hash(path) == entry.sha256

    def write(
        self,
        sample_id: str,
        picture: Picture,
        *,
        source: Path,
        reference: str | None,
        rank: int = 0,
        jpeg_quality: int | None = None,
    ) -> TranslatedImage:
        """Write a translation and note it.

        Args:
            sample_id: Relative path of the image without its ending.
            picture: The translation, blue, green, red of 8 bits, shape (H, W, 3).
            source: The original file.
            reference: Sample id of the target image that was used.
            rank: Rank of this process.
            jpeg_quality: Write JPEG of this quality, 1..100; None writes PNG.

        Returns:
            The entry of the manifest.

        Raises:
            ValueError: The id leads out of the folder.
        """
        check_inside(self.root, sample_id)
        ending = ".png" if jpeg_quality is None else ".jpg"
        flags = [] if jpeg_quality is None else [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
        data = cv2.imencode(ending, picture, flags)[1].tobytes()
        path = self.root / IMAGES / f"{sample_id}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        entry = TranslatedImage(
            file=path.relative_to(self.root).as_posix(),
            sha256=hashlib.sha256(data).hexdigest(),
            source=source.name,
            source_sha256=file_hash(source),
            width=picture.shape[1],
            height=picture.shape[0],
            reference=reference,
        )
        with open(self.root / _UNFINISHED / f"{rank}.jsonl", "a") as log:
            # The line break comes first, so that a line cut short by a kill spoils no other.
            log.write("\n" + json.dumps({"sample_id": sample_id, **asdict(entry)}))
        return entry

    def finish(self, settings: Mapping[str, Any], images: Mapping[str, TranslatedImage]) -> None:
        """Write the manifest, which makes the set complete, and remove the notes.

        Args:
            settings: As for `begin`.
            images: Entry of every image by sample id.
        """
        content = {
            "format": FORMAT_VERSION,
            "settings": dict(settings),
            "images": {name: asdict(images[name]) for name in sorted(images)},
        }
        write_atomically(self.root / MANIFEST, json.dumps(content, indent=1))
        shutil.rmtree(self.root / _UNFINISHED)

    def _notes(self) -> Iterator[tuple[str, TranslatedImage]]:
        """Sample ids and entries that all ranks noted; a line that a kill cut short is left out."""
        for log in sorted((self.root / _UNFINISHED).glob("*.jsonl")):
            for line in log.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    yield str(entry.pop("sample_id")), self._entry(entry)
                except (ValueError, TypeError, KeyError, AttributeError):
                    continue
