"""How labels are named after their images."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mmdrsl.datasets.file_patterns import FilePatterns

_BORDERS = "/_-. "
# Images, and labels, whose nearest names suggest namings.
_SAMPLES = 10
# Namings that are tried, those that were suggested most often: chance suggests each once.
_TRIED = 32


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
        if not image.lower().endswith(self.img_suffix.lower()):
            return None
        return image[: -len(self.img_suffix)] + self.seg_map_suffix

    def pairs(self, images: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
        """Labels of the images that have one; endings in upper and lower case are alike, as for the datasets.

        Args:
            images: Paths of images below their folder.
            labels: Paths of label files below theirs.

        Returns:
            Image to label as it is spelled.
        """
        suffix = self.seg_map_suffix if self.patterns is None else self.patterns[1]
        end = len(suffix.rpartition("*")[2])
        spelled = {_lower_end(label, end): label for label in labels}
        return {
            image: spelled[key]
            for image in images
            if (label := self.label_name(image)) is not None
            and (key := _lower_end(label, end)) in spelled
        }


def _lower_end(name: str, end: int) -> str:
    return name[:-end] + name[-end:].lower()


def find_namings(
    images: Sequence[str], labels: Sequence[str], *, one_folder: bool = False
) -> list[Naming]:
    """Find the ways to name labels after images by which most images have one.

    Names that are equal up to their endings come first, whatever else is alike.

    Args:
        images: Paths of images below their folder.
        labels: Paths of label files below theirs.
        one_folder: Whether both are in one folder, where each may contain the other; no file is then both an image and
            a label.

    Returns:
        The ways, without those under which fewer images have a label than under others; empty where less than half of
        the images and less than half of the labels are paired, as chance does it. Several where images have several
        label files each.
    """
    for candidates in (_equal_stems, _nearest):
        found = {naming: naming.pairs(images, labels) for naming in candidates(images, labels)}
        if one_folder:
            found = {
                naming: pairs
                for naming, pairs in found.items()
                if pairs.keys().isdisjoint(pairs.values())
            }
        most = max(map(len, found.values()), default=0)
        namings: dict[frozenset[str], Naming] = {}
        # Labels belong to the images whose names differ least.
        for naming in sorted(found, key=_length):
            if len(found[naming]) == most > 0:
                namings.setdefault(frozenset(found[naming].values()), naming)
        paired = frozenset().union(*namings)
        # In one folder, the paired ones are among both.
        other = most if one_folder else 0
        enough = 2 * most >= len(images) - other or 2 * len(paired) >= len(labels) - other
        if namings and enough:
            return list(namings.values())
    return []


def _length(naming: Naming) -> int:
    """Length of what differs between images and labels."""
    return len("".join(naming.patterns or (naming.img_suffix, naming.seg_map_suffix)))


def _equal_stems(images: Sequence[str], labels: Sequence[str]) -> list[Naming]:
    """Endings of images and labels that are equal up to there."""
    endings: dict[str, list[str]] = {}
    for label in labels:
        stem, ending = os.path.splitext(label)
        endings.setdefault(stem, []).append(ending)
    namings = (
        Naming(ending, other)
        for stem, ending in map(os.path.splitext, images)
        for other in endings.get(stem, ())
    )
    return list(dict.fromkeys(namings))


def _nearest(images: Sequence[str], labels: Sequence[str]) -> list[Naming]:
    """Namings under which a label nearest to an image, or an image nearest to a label, is its own."""
    suggested: Counter[Naming] = Counter()
    for alike, make in ((_equal_beginning, _by_beginning), (_equal_ending, _by_ending)):
        for image in _spread(images):
            suggested.update(make(image, label) for label in _most_alike(image, labels, alike))
        for label in _spread(labels):
            suggested.update(make(image, label) for image in _most_alike(label, images, alike))
    return [naming for naming, _ in suggested.most_common(_TRIED)]


def _spread(names: Sequence[str]) -> list[str]:
    """At most `_SAMPLES` names, evenly spread."""
    count = min(_SAMPLES, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def _most_alike(name: str, others: Sequence[str], alike: Callable[[str, str], str]) -> list[str]:
    """The other names whose part equal to that of a name is longest."""
    lengths = [len(alike(name, other)) if other != name else 0 for other in others]
    longest = max(lengths, default=0)
    return [other for other, length in zip(others, lengths, strict=True) if length == longest > 0]


def _equal_beginning(first: str, second: str) -> str:
    """What two names have in common at their beginning; empty where folders differ."""
    stem, other = (os.path.splitext(name)[0] for name in (first, second))
    begin = _cut_back(_common(stem, other), stem, other)
    # A suffix is a part of a file's name.
    return "" if "/" in first[len(begin) :] + second[len(begin) :] else begin


def _equal_ending(first: str, second: str) -> str:
    """What the stems of two names have in common at their end."""
    stem, other = (os.path.splitext(name)[0] for name in (first, second))
    return _common(stem[::-1], other[::-1])[::-1]


def _by_beginning(image: str, label: str) -> Naming:
    """Suffixes for names that are equal at their beginning, such as 7_rgb.png and 7_seg.png."""
    begin = len(_equal_beginning(image, label))
    return Naming(image[begin:], label[begin:])


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


def _by_ending(image: str, label: str) -> Naming:
    """Patterns for names that are equal at their end, such as rgb/7.png and seg/7.png, rgb_7.png and ss_7.png."""
    end = _equal_ending(image, label)
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
