"""How labels are named after their images."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mmdrsl.datasets.file_patterns import FilePatterns

_BORDERS = "/_-. "


@dataclass(frozen=True)
class Naming:
    """Arguments of a labeled dataset that pair images with labels.

    Attributes:
        img_suffix: How images end; empty where `patterns` say it.
        seg_map_suffix: What takes its place in labels.
        patterns: ``file_patterns``, or None.
    """

    img_suffix: str = ""
    seg_map_suffix: str = ""
    patterns: tuple[str, str] | None = None

    def options(self) -> dict:
        """The arguments as keywords of `LabelledImageDataset`."""
        if self.patterns is not None:
            image, label = self.patterns
            return {"file_patterns": {"img_path": image, "seg_map_path": label}}
        return {"img_suffix": self.img_suffix, "seg_map_suffix": self.seg_map_suffix}

    def label_name(self, image: str) -> str | None:
        """Name of an image's label; None where the image does not fit."""
        if self.patterns is not None:
            return FilePatterns(self.options()["file_patterns"]).label_name(image)
        if not image.endswith(self.img_suffix):
            return None
        return image[: -len(self.img_suffix)] + self.seg_map_suffix


def find_namings(images: Sequence[str], labels: Sequence[str]) -> list[Naming]:
    """Find the ways to name labels after images by which most images have one.

    Args:
        images: Paths of images below their folder.
        labels: Paths of label files below theirs.

    Returns:
        The ways, without those under which fewer images have a label than under others; empty where no label resembles
        an image. Several where images have several label files each.
    """
    existing = set(labels)
    found = {
        naming: sum(naming.label_name(image) in existing for image in images)
        for naming in _candidates(images[0], labels)
    }
    most = max(found.values(), default=0)
    return [naming for naming, count in found.items() if count == most > 0]


def _candidates(image: str, labels: Sequence[str]) -> list[Naming]:
    """Namings under which the labels nearest to an image are its own, those of equal beginnings first."""
    stem, ending = os.path.splitext(image)
    beginnings: dict[Naming, int] = {}
    endings: dict[Naming, int] = {}
    for label in labels:
        other, label_ending = os.path.splitext(label)
        if stem == other:
            return [Naming(ending, label_ending)]
        begin = _cut_back(_common(stem, other), stem, other)
        # A suffix is a part of a file's name.
        if begin and "/" not in image[len(begin) :] + label[len(begin) :]:
            naming = Naming(image[len(begin) :], label[len(begin) :])
            beginnings[naming] = len(begin)
        end = _common(stem[::-1], other[::-1])[::-1]
        if end:
            endings[_by_ending(image, label, end)] = len(end)
    return [
        naming
        for lengths in (beginnings, endings)
        for naming, length in lengths.items()
        if length == max(lengths.values())
    ]


def _common(first: str, second: str) -> str:
    """The longest common beginning."""
    for length, (one, two) in enumerate(zip(first, second, strict=False)):
        if one != two:
            return first[:length]
    return min(first, second, key=len)


def _cut_back(begin: str, stem: str, other: str) -> str:
    """The common beginning without the part of a word that is equal by chance, such as ``a_r`` of a_rgb and a_road."""
    if len(begin) in (len(stem), len(other)) or begin[-1:] in _BORDERS:
        return begin
    last = max(begin.rfind(border) for border in _BORDERS)
    return begin[: last + 1]


def _by_ending(image: str, label: str, end: str) -> Naming:
    """Patterns for names that are equal at their end, such as rgb/7.png and seg/7.png, rgb_7.png and ss_7.png."""
    end = end.lstrip(_BORDERS) or end
    heads = []
    for name in (image, label):
        stem, ending = os.path.splitext(name)
        head = PurePosixPath(stem[: -len(end)] + "x")
        # Folders above the one that differs may have any name.
        kept = "/".join(head.parts[-2:] if head.name == "x" else head.parts[-1:])
        heads.append((kept[:-1] + "*", ending))
    (first, first_ending), (second, second_ending) = heads
    return Naming(patterns=(first + first_ending, second + second_ending))
