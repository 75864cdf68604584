"""The comparison of methods as a table and as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any


def table_rows(
    summary: Mapping[str, Any], classes: Sequence[str], titles: Mapping[str, str]
) -> list[list[str]]:
    """Arrange the summary as a table.

    Args:
        summary: By method: ``mIoU``, ``aAcc`` and ``IoU`` by class, in percent; all but ``mIoU`` may be missing.
        classes: Class names in the order of the rows.
        titles: Title of the column by method, in the order of the columns.

    Returns:
        The header, then one row per quantity; a dash stands for a missing value.
    """
    entries = [summary[method] for method in titles]
    rows = [["in percent", *titles.values()]]
    for name, key in ((mean_title(entries), "mIoU"), ("pixel accuracy", "aAcc")):
        rows.append([name, *(_cell(entry.get(key)) for entry in entries)])
    for name in occurring_classes(summary, classes, titles):
        rows.append([name, *(_cell(entry.get("IoU", {}).get(name)) for entry in entries)])
    return rows


def mean_title(entries: Sequence[Mapping[str, Any]]) -> str:
    """Name of the mean, with the number of classes it is over: those that a network has or gets pixels of.

    So it differs from ``mIoU16``, the mean over SYNTHIA's sixteen classes, where their number is the same.

    Args:
        entries: Scores of the methods, with ``IoU`` by class where it is known.

    Returns:
        For instance ``mIoU of 16 classes``.
    """
    counts = sorted({len(entry["IoU"]) for entry in entries if entry.get("IoU")})
    if not counts:
        return "mIoU"
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mIoU of {number} classes"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def occurring_classes(
    summary: Mapping[str, Any], classes: Sequence[str], titles: Mapping[str, str]
) -> list[str]:
    """Classes with an IoU in at least one method.

    Args:
        summary: As in `table_rows`.
        classes: Class names.
        titles: As in `table_rows`.

    Returns:
        Those that occur, in the same order.
    """
    found = {name for method in titles for name in summary[method].get("IoU", {})}
    return [name for name in classes if name in found]


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


def order_sentence(summary: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Say in which order the methods came out.

    Args:
        summary: By method: ``mIoU`` in percent.
        titles: Title by method; methods without one are left out.

    Returns:
        One sentence; values that agree in the digit shown are called equal.
    """
    ranked = sorted(titles, key=lambda method: -summary[method]["mIoU"])
    shown = [f"{summary[method]['mIoU']:.1f}" for method in ranked]
    signs = [" = " if first == second else " > " for first, second in pairwise(shown)]
    names = [f"{titles[method]} {value}" for method, value in zip(ranked, shown, strict=True)]
    chain = "".join(name + sign for name, sign in zip(names, [*signs, ""], strict=True))
    return f"Measured order on this seed: {chain} (mIoU in percent)."
