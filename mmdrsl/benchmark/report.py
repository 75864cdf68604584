"""Rows of a benchmark as tables in Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from mmdrsl.benchmark.aggregate import paired_differences, spread
from mmdrsl.benchmark.methods import titles_of
from mmdrsl.benchmark.networks import shown_network

REFERENCE = "drsl"
# Choices of tricks that have a place of their own in a page.
OWN_PLACES = {"statistics": ["target_bn"], "scales": ["multi_scale_labels"]}
NONE = "-"
BEGIN, END = "<!-- benchmark:{} -->", "<!-- /benchmark:{} -->"
Row = Mapping[str, Any]


def report(rows: Iterable[Row]) -> str:
    """All tables: one section per evaluation set, tricks and model.

    Args:
        rows: Rows with gaps.

    Returns:
        Markdown.
    """
    sections = [
        "# Benchmark",
        "",
        "Percent; mean and sample standard deviation over seeds; last iterate.",
    ]
    for group in _comparisons(_with_sets_apart(rows)):
        sections += ["", *_section(group)]
    return "\n".join(sections) + "\n"


def _with_sets_apart(rows: Iterable[Row]) -> list[Row]:
    """Rows whose evaluation sets have the hash in their names where two have one name, as after a change of labels."""
    rows = list(rows)
    sets = {(row["evaluation"]["set"], row["evaluation"]["hash"]) for row in rows}
    names = Counter(name for name, _ in sets)
    found: list[Row] = []
    for row in rows:
        evaluation = dict(row["evaluation"])
        if names[evaluation["set"]] > 1:
            evaluation["set"] += f" ({evaluation['hash']})"
        found.append({**row, "evaluation": evaluation})
    return found


def _comparison(row: Row) -> tuple:
    """What rows of one table have in common; another translated set for all is another comparison."""
    translations = row["translations"] if "translated_source" in row["tricks"] else None
    tricks = tuple(row["tricks"])
    return (json.dumps(row["evaluation"]), tricks, translations or "", row["model"])


def _comparisons(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows by what they are compared over; the oracle, which nothing translates, stands beside every translated set."""
    groups = {
        key: list(group) for key, group in groupby(sorted(rows, key=_comparison), key=_comparison)
    }
    for key in [key for key in groups if "translated_source" in key[1] and not key[2]]:
        sets = [
            other for other in groups if other[2] and (*other[:2], other[3]) == (*key[:2], key[3])
        ]
        for other in sets:
            groups[other] += groups[key]
        if sets:
            groups.pop(key)
    return list(groups.values())


def _section(rows: list[Row]) -> list[str]:
    first = rows[0]
    tricks = ", ".join(first["tricks"]) or "none"
    return [
        f"## {first['model']} on {first['evaluation']['set']}, tricks: {tricks}",
        "",
        *main_table(rows),
        "",
        *_differences(rows, ", seed by seed"),
        "IoU per class:",
        "",
        *class_table(rows),
        "",
        "What differs between the methods, and what they cost:",
        "",
        *protocol_table(rows),
    ]


def main_table(rows: Sequence[Row]) -> list[str]:
    """Headline, mIoU, accuracy, every sequence and the gaps, one line per method.

    Args:
        rows: Rows of one model, evaluation set and choice of tricks; may be empty.

    Returns:
        Lines of Markdown.
    """
    if not rows:
        return ["Nothing measured yet."]
    sequences = list(dict.fromkeys(name for row in rows for name in row["sequences"]))
    columns: dict[str, Callable[[Row], float | None]] = {
        "mean of sequences": lambda row: row["mean_of_sequences"],
        **{name: lambda row, name=name: row["sequences"].get(name) for name in sequences},
        "mIoU": lambda row: row["mIoU"],
        "pixel accuracy": lambda row: row["aAcc"],
        "gap, %": lambda row: row["gap_recovered"],
        "gap of the mean, %": lambda row: row["gap_recovered_headline"],
        "gap, known classes, %": lambda row: row["gap_recovered_known_classes"],
    }
    lines = _head(["method", "seeds", *columns])
    for title, own in _by_title(rows).items():
        cells = [_text(spread(own, value)) for value in columns.values()]
        lines.append(_line([title, str(len(own)), *cells]))
    return lines


def difference_table(rows: Sequence[Row]) -> list[str]:
    """Differences of every method to the reference: the headline seed by seed, its mean, and that of the mIoU.

    Args:
        rows: Rows of one comparison.

    Returns:
        Lines of Markdown; a method without a seed in common with the reference is left out.
    """
    reference = [row for row in rows if row["method"] == REFERENCE]
    seeds = sorted({row["seed"] for row in rows})
    lines = _head(["method", "mean of sequences", *(f"seed {seed}" for seed in seeds), "mIoU"])
    for title, own in _by_title(rows).items():
        if own[0]["method"] == REFERENCE:
            continue
        found = paired_differences(own, reference, lambda row: row["mean_of_sequences"])
        of_all = paired_differences(own, reference, lambda row: row["mIoU"])
        if found is None or of_all is None:
            continue
        cells = [f"{found.values[seed]:+.1f}" if seed in found.values else NONE for seed in seeds]
        lines.append(_line([title, found.text(), *cells, of_all.text()]))
    return lines


def class_table(rows: Sequence[Row]) -> list[str]:
    """IoU per class, one line per method.

    Args:
        rows: Rows of one comparison.

    Returns:
        Lines of Markdown.
    """
    classes = list(dict.fromkeys(name for row in rows for name in row["IoU"]))
    lines = _head(["method", *classes])
    for title, own in _by_title(rows).items():
        cells = [
            _text(spread(own, lambda row, name=name: row["IoU"].get(name))) for name in classes
        ]
        lines.append(_line([title, *cells]))
    return lines


def protocol_table(rows: Sequence[Row]) -> list[str]:
    """Labels, normalization, evaluated network and cost, one line per method.

    Args:
        rows: Rows of one comparison.

    Returns:
        Lines of Markdown.
    """
    lines = _head(
        [
            *("method", "labels", "batch norm", "evaluated", "optimizer"),
            *("warm-up, min", "then, min", "memory, MB"),
        ]
    )
    for title, own in _by_title(rows).items():
        protocol = own[0]["protocol"]
        warmup = _text(spread(own, lambda row: row["warmup_minutes"]))
        cells = [
            protocol["labels"],
            protocol["bn_mode"] or "one domain",
            protocol["network"],
            protocol["optimizer"],
            f"{warmup} ({'shared' if own[0]['shared_warmup'] else 'own'})",
            _text(spread(own, lambda row: row["minutes"])),
            _text(spread(own, lambda row: row["peak_memory_mb"]), digits=0),
        ]
        lines.append(_line([title, *cells]))
    return lines


def fill_page(page: Path, rows: Sequence[Row]) -> str:
    """Put tables of one network, `shown_network`, into a page, between its markers.

    ``<!-- benchmark:summary -->`` gets the main table without tricks, on the evaluation set with most rows;
    ``<!-- benchmark:plain -->`` all tables without tricks, differences and classes included;
    ``<!-- benchmark:statistics -->`` and ``<!-- benchmark:scales -->`` the same with the one trick ``target_bn`` or
    ``multi_scale_labels``; ``<!-- benchmark:tricks -->`` for every other choice of tricks that at least two methods
    were given. Each ends at ``<!-- /benchmark:... -->``; text outside stays. Rows of ``--target-bn`` are for `report`
    alone.

    Args:
        page: The page.
        rows: Rows with gaps.

    Returns:
        The new text.

    Raises:
        FileNotFoundError: There is no such page.
        ValueError: The page has no marker, or one without its end.
    """
    text = page.read_text(encoding="utf-8")
    network = shown_network(rows)
    usual = [
        row
        for row in _with_sets_apart(rows)
        if row["model"] == network and "target_weight" not in row["evaluation"]
    ]
    plain = [row for row in usual if not row["tricks"]]
    others = [row for row in usual if row["tricks"] not in ([], *OWN_PLACES.values())]
    tables = {
        "summary": main_table(max(_comparisons(plain), key=len, default=[])),
        "plain": _tables(plain),
        **{
            name: _tables([row for row in usual if row["tricks"] == tricks])
            for name, tricks in OWN_PLACES.items()
        },
        "tricks": _tables(others, least_methods=2),
    }
    wanted = [name for name in tables if BEGIN.format(name) in text]
    if not wanted:
        raise ValueError(
            f"{page} has none of the markers {[BEGIN.format(name) for name in tables]}."
        )
    for name in wanted:
        begin, end = BEGIN.format(name), END.format(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"{page} must have {begin} and {end} once each, in this order.")
        head, rest = text.split(begin)
        tail = rest.split(end)[1]
        # A list or table that touches a comment is not read as one everywhere.
        text = "\n".join([head + begin, "", *tables[name], "", end + tail])
    return text


def _tables(rows: Sequence[Row], *, least_methods: int = 1) -> list[str]:
    """All tables of every set and choice of tricks, costs apart; an empty one without any."""
    lines: list[str] = []
    for own in _comparisons(rows):
        if len({row["method"] for row in own}) < least_methods:
            continue
        tricks = f", tricks: {', '.join(own[0]['tricks'])}" if own[0]["tricks"] else ""
        lines += [f"On {own[0]['evaluation']['set']}{tricks}:", "", *main_table(own), ""]
        lines += _differences(own)
        lines += ["IoU per class:", "", *class_table(own), ""]
    return lines[:-1] if lines else main_table([])


def _differences(rows: Sequence[Row], how: str = "") -> list[str]:
    """The table of differences with its title; nothing where there is none to show."""
    table = difference_table(rows)
    if len(table) <= len(_head([])):
        return []
    return [f"Difference to {titles_of(rows).get(REFERENCE, REFERENCE)}{how}:", "", *table, ""]


def _by_title(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by method, and by what made its source images."""
    titles = titles_of(rows)
    order = list(titles)
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: order.index(row["method"])):
        made_by = "" if row["translations"] is None else f" ({row['translations']})"
        found.setdefault(titles[row["method"]] + made_by, []).append(row)
    return found


def _text(found: Any, digits: int = 1) -> str:
    return NONE if found is None else found.text(digits)


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
