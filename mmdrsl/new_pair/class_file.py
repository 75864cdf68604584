"""The classes of a pair: a small file of ids or colors and names, and the template of one."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmdrsl.datasets.label_spaces import LABEL_SPACES, LabelTable

Value = int | tuple[int, int, int]
"""What a label file stores for a class: an id, or a color (red, green, blue)."""

_CITYSCAPES = LABEL_SPACES["cityscapes19"]
_KNOWN_COLORS = dict(zip(_CITYSCAPES.classes, _CITYSCAPES.palette, strict=True))
_IGNORED = "ignored"
_INTEGER = re.compile("[0-9]+")
EXPECTED = (
    "expected a YAML or JSON file such as\n  ids: {0: road, 1: car, 255: ignored}\nor\n"
    '  colors: {"128,64,128": road, "0,0,142": car}\nwhere names that are "ignored" count nowhere'
)


@dataclass(frozen=True)
class PairClasses:
    """The classes of a pair, and what its source's labels store.

    Attributes:
        table: Arguments of `LabelTable`.
        classes: Names, in the order of the train ids.
        palette: One color per class.
    """

    table: dict[str, Any]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    @property
    def label_space(self) -> dict[str, Any]:
        """The label space as a config has it."""
        return {
            "name": self.table["name"],
            "classes": list(self.classes),
            "palette": [list(color) for color in self.palette],
        }

    def values(self) -> set[Value]:
        """Ids or colors that are listed."""
        return set(self.table.get("ids", self.table.get("colors", {})))


class _Loader(yaml.SafeLoader):
    """Takes keys as they are written, each once: YAML reads 010 as 8, and drops all but the last of equal ones."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        """Make a dictionary of a mapping."""
        content: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(name, str) or name in content:
                problem = "comes twice" if isinstance(name, str) else "is no id, color or word"
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} {problem}", key.start_mark
                )
            content[name] = self.construct_object(value, deep=deep)
        return content


def read_classes(path: Path) -> PairClasses:
    """Read the classes of a pair.

    Args:
        path: YAML or JSON with ``ids`` (id to name) or ``colors`` (color as "red,green,blue" to name). The classes are
            the names in the order in which they come, without ``ignored`` (in upper or lower case).

    Returns:
        The classes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It says something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of classes {path}: {EXPECTED}")
    try:
        # A subclass of the safe loader.
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): {EXPECTED}") from error
    keys = set(content) if isinstance(content, dict) else None
    if keys not in ({"ids"}, {"colors"}) or not isinstance(next(iter(content.values())), dict):
        raise ValueError(f"{path} has {sorted(map(str, keys or []))}: {EXPECTED}")
    kind, entries = next(iter(content.items()))
    names = _checked_names(path, entries)
    if kind == "ids":
        wrong = [value for value in names if not _INTEGER.fullmatch(value)]
        if wrong:
            raise ValueError(f"{path} has the ids {wrong}, which are no integers: {EXPECTED}")
    classes = tuple(dict.fromkeys(name for name in names.values() if name != _IGNORED))
    if len(classes) < 2:
        raise ValueError(
            f"{path} names the classes {list(classes)}, expected two or more: {EXPECTED}"
        )
    table: dict[str, Any] = {"name": path.parent.resolve().name or "pair", kind: names}
    if _IGNORED in names.values():
        table["void"] = [_IGNORED]
    try:
        checked = LabelTable.load(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    table[kind] = dict(checked.colors if kind == "colors" else checked.ids)
    if len(table[kind]) < len(names):
        raise ValueError(
            f"{path} has {len(names)} {kind}, of which {len(table[kind])} differ, expected each once however it is "
            f"written: remove the repeated ones of {list(names)}"
        )
    return PairClasses(table, classes, _palette(classes, table.get("colors", {})))


def _checked_names(path: Path, entries: Mapping[str, Any]) -> dict[str, str]:
    """The names without spaces around them; what is ignored in lower case."""
    names = {}
    spelled: dict[str, str] = {}
    for value, given in entries.items():
        if not isinstance(given, str) or not given.strip():
            raise ValueError(
                f"{path} names {value} {given!r}, expected a word (YAML reads no, off and null as something else): put "
                "quotes around it"
            )
        name = _IGNORED if given.strip().lower() == _IGNORED else given.strip()
        if spelled.setdefault(name.lower(), name) != name:
            raise ValueError(
                f"{path} has the names {spelled[name.lower()]!r} and {name!r}, expected one spelling for each class: "
                "write both alike, or name them apart"
            )
        names[value] = name
    return names


def _palette(
    classes: tuple[str, ...], colors: Mapping[tuple[int, int, int], str]
) -> tuple[tuple[int, int, int], ...]:
    """A color per class: that of its labels, that of Cityscapes, or one of a circle of hues."""
    own = {name: color for color, name in reversed(list(colors.items()))}
    chosen = []
    for index, name in enumerate(classes):
        red, green, blue = colorsys.hsv_to_rgb(index / len(classes), 0.65, 0.85)
        hue = (round(red * 255), round(green * 255), round(blue * 255))
        chosen.append(own.get(name, _KNOWN_COLORS.get(name, hue)))
    return tuple(chosen)


def write_template(path: Path, pixels: Mapping[str, Mapping[Value, int]]) -> None:
    """Write a file of classes in which the names are still to be given.

    Args:
        path: File to write; it must not exist.
        pixels: Pixels of each id or color found in each set of labels, by the name of the set.
    """
    shares = {
        name: {value: 100 * count / sum(counts.values()) for value, count in counts.items()}
        for name, counts in pixels.items()
    }
    # The largest of the first set, then what the others alone show.
    values = sorted(
        {value for counts in pixels.values() for value in counts},
        key=lambda value: [-counts.get(value, 0) for counts in pixels.values()],
    )
    colors = any(isinstance(value, tuple) for value in values)
    lines = [
        "# Give each class its name. The same name may come several times; what is 'ignored' counts nowhere.",
        "# Percent: share of the pixels looked at.",
        "colors:" if colors else "ids:",
    ]
    for number, value in enumerate(values):
        key = json.dumps(",".join(map(str, value))) if isinstance(value, tuple) else str(value)
        seen = ", ".join(
            f"{of[value]:.2f} % of {name}" for name, of in shares.items() if value in of
        )
        lines.append(f"  {key}: class_{number}  # {seen}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
