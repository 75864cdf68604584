"""Compares class names wherever two things meet that number their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdrsl.datasets.label_spaces import MAX_CLASSES


def check_same_classes(
    first: Sequence[str] | None, second: Sequence[str] | None, *, of: tuple[str, str], remedy: str
) -> None:
    """Refuse two lists of classes that differ, in their order too.

    Args:
        first: Class names in the order of their ids; None where nothing names them.
        second: The other ones.
        of: What each of them belongs to, for the message.
        remedy: What the user can do.

    Raises:
        ValueError: Both name their classes, and the names differ.
    """
    if first is None or second is None:
        return
    first, second = [str(name) for name in first], [str(name) for name in second]
    if first == second:
        return
    if sorted(first) == sorted(second):
        how = "the same names in another order, so that an id means another class"
    else:
        lists = [sorted(set(a) - set(b)) for a, b in ((first, second), (second, first))]
        how = f"only {of[0]}: {lists[0]}, only {of[1]}: {lists[1]}"
    raise ValueError(
        f"The classes of {of[0]} differ from those of {of[1]} ({how}). {of[0]}: {first}; {of[1]}: {second}. {remedy}"
    )


def check_class_count(classes: Sequence[str] | None, *, of: str) -> None:
    """Refuse more classes than labels of 8 bits can number.

    Args:
        classes: Class names.
        of: What they belong to, for the message.

    Raises:
        ValueError: There are more.
    """
    if classes is not None and len(classes) > MAX_CLASSES:
        raise ValueError(
            f"{of} has {len(classes)} classes, labels of 8 bits number at most {MAX_CLASSES} and 255 for ignored "
            "pixels: merge or leave out classes."
        )


def classes_of_data(dataset: Any) -> tuple[str, ...] | None:
    """Class names of a dataset.

    Args:
        dataset: A dataset of MMSegmentation or of this project, wrapped or not.

    Returns:
        Names in the order of the ids; None where it has none.
    """
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    return tuple(classes) if classes else None


def classes_of_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Class names that a checkpoint notes.

    Args:
        checkpoint: What `read_checkpoint` gives. Files that MMCV wrote before version 2 note them as ``meta.CLASSES``.

    Returns:
        Names in the order of the ids; None where it has none, or where they are placeholders: a name that comes twice
        tells no class from another.
    """
    classes = tuple(map(str, _noted(checkpoint, "classes")))
    return classes if classes and len(set(classes)) == len(classes) else None


def palette_of_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Colors that a checkpoint notes.

    Args:
        checkpoint: As for `classes_of_checkpoint`.

    Returns:
        RGB color (0..255) per class; empty where it has none.
    """
    colors = _noted(checkpoint, "palette")
    return tuple(tuple(int(value) for value in color) for color in colors)


def _noted(checkpoint: Mapping[str, Any], key: str) -> Sequence[Any]:
    """An entry of the data's description; empty where the checkpoint has none."""
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping):
        return ()
    noted = meta.get("dataset_meta")
    value = noted.get(key) if isinstance(noted, Mapping) else None
    value = meta.get(key.upper()) if value is None else value
    return value if isinstance(value, list | tuple) else ()
