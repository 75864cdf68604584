"""Which label belongs to which image, where more than the ending of the names differs."""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEYS = ("img_path", "seg_map_path")


class FilePatterns:
    """Names of images and labels below their folders, with ``*`` for what is equal in both.

    A star stands for a part of a name or for the name of one folder. A pattern is about the end of a path, so that
    ``rgb/*.png`` and ``seg/*.png`` pair ``s1/rgb/7.png`` with ``s1/seg/7.png``.

    Args:
        patterns: ``img_path`` and ``seg_map_path``, with equally many stars.

    Raises:
        ValueError: A pattern is missing, ends in a star, has none, or another number of them than the other.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        if set(patterns) != set(_KEYS):
            raise ValueError(
                f"file_patterns has the keys {sorted(patterns)}, expected img_path and seg_map_path"
            )
        self.image, self.label = (patterns[key] for key in _KEYS)
        stars = self.image.count("*")
        ends = self.image.endswith("*") or self.label.endswith("*")
        if stars == 0 or self.label.count("*") != stars or ends or "**" in self.image + self.label:
            raise ValueError(
                f"file_patterns are {self.image!r} and {self.label!r}, expected equally many single stars and an "
                "ending in both, such as 'rgb/*.png' and 'seg/*.png'"
            )

    @property
    def suffixes(self) -> tuple[str, str]:
        """How names of images and of labels end."""
        return self.image.rpartition("*")[2], self.label.rpartition("*")[2]

    def label_name(self, name: str) -> str | None:
        """Name of an image's label; None where the name does not fit."""
        return _renamed(name, self.image, self.label)

    def image_name(self, label: str) -> str | None:
        """Name of a label's image; None where the name does not fit."""
        return _renamed(label, self.label, self.image)


def _renamed(name: str, pattern: str, other: str) -> str | None:
    fixed = "([^/]+)".join(re.escape(part) for part in pattern.split("*"))
    match = re.fullmatch(f"((?:.*/)?){fixed}", name, re.IGNORECASE)
    if match is None:
        return None
    folder, *equal = match.groups()
    first, *rest = other.split("*")
    return folder + first + "".join(star + part for star, part in zip(equal, rest, strict=True))
