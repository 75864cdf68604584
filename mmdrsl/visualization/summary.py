"""The comparison of methods as a table and as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

METHOD_TITLES = {"source_only": "Source only", "self_training": "Self-training", "drsl": "DRSL"}
"""Methods of the demonstration and how the report calls them, in the order of its columns."""


def table_rows(summary: Mapping[str, Any], classes: Sequence[str]) -> list[list[str]]:
    """Arrange the summary as a table.

    Args:
        summary: By method: ``mIoU``, ``aAcc`` and ``IoU`` by class, in percent.
        classes: Class names in the order of the rows.

    Returns:
        The header, then one row per quantity; a dash stands for a class that does not occur.
    """
    rows = [["in percent", *METHOD_TITLES.values()]]
    for name, key in (("mIoU", "mIoU"), ("pixel accuracy", "aAcc")):
        rows.append([name, *(f"{summary[method][key]:.1f}" for method in METHOD_TITLES)])
    for name in occurring_classes(summary, classes):
        values = [summary[method]["IoU"].get(name) for method in METHOD_TITLES]
        rows.append([name, *("-" if value is None else f"{value:.1f}" for value in values)])
    return rows


def occurring_classes(summary: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """Classes with an IoU in at least one method.

    Args:
        summary: As in `table_rows`.
        classes: Class names.

    Returns:
        Those that occur, in the same order.
    """
    return [
        name for name in classes if any(name in summary[method]["IoU"] for method in METHOD_TITLES)
    ]


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Align a table for the terminal: names to the left, numbers to the right.

    Args:
        rows: Rows of equal length, the header first.

    Returns:
        Lines of equal width with a rule under the header.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def order_sentence(summary: Mapping[str, Any]) -> str:
    """Say in which order the methods came out.

    Args:
        summary: By method: ``mIoU`` in percent.

    Returns:
        One sentence; values that agree in the digit shown are called equal.
    """
    ranked = sorted(METHOD_TITLES, key=lambda method: -summary[method]["mIoU"])
    shown = [f"{summary[method]['mIoU']:.1f}" for method in ranked]
    signs = [" = " if first == second else " > " for first, second in pairwise(shown)]
    names = [
        f"{METHOD_TITLES[method]} {value}" for method, value in zip(ranked, shown, strict=True)
    ]
    chain = "".join(name + sign for name, sign in zip(names, [*signs, ""], strict=True))
    return f"Measured order on this seed: {chain} (mIoU in percent)."
