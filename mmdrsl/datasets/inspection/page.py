"""One page of text that says what to do first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from prettytable import PrettyTable

from mmdrsl.datasets.inspection.domain_report import REMEDIES, DomainReport

_MAX_NAMED = 5
_MAX_COUNTED = 3


def render_page(reports: Mapping[str, DomainReport], title: str) -> str:
    """Write the page.

    Args:
        reports: Report by domain.
        title: What was inspected.

    Returns:
        Text: problems by kind with remedies, remarks, an overview, pixels per class.
    """
    parts = [title, _problems(reports), _remarks(reports), _overview(reports), _classes(reports)]
    return "\n\n".join(part for part in parts if part)


def _problems(reports: Mapping[str, DomainReport]) -> str:
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, report in reports.items():
        for kind, message in report.problems:
            grouped[name, kind].append(message)
    if not grouped:
        return "No problem found."
    lines = [f"{sum(map(len, grouped.values()))} problems"]
    for number, ((name, kind), messages) in enumerate(grouped.items(), 1):
        lines.append(f"{number}. {name}: {kind} ({len(messages)}). To do: {REMEDIES[kind]}.")
        lines += [f"     {message}" for message in messages[:_MAX_NAMED]]
        if len(messages) > _MAX_NAMED:
            lines.append(
                f"     ... and {len(messages) - _MAX_NAMED} more; mmdrsl check CONFIG --json lists all"
            )
    return "\n".join(lines)


def _remarks(reports: Mapping[str, DomainReport]) -> str:
    """What is no mistake but worth knowing."""
    remarks = []
    for name, report in reports.items():
        remarks += [f"{name}: {remark}" for remark in report.remarks]
        absent = _absent(report)
        if report.labeled and report.images and absent:
            effect = "cannot be learned" if name == "source" else "have no score"
            remarks.append(f"{name} has no pixel of {', '.join(absent)}: these classes {effect}.")
        if len(report.image_kinds) > 1:
            remarks.append(f"{name} mixes images stored as {_counted(report.image_kinds)}.")
    if {"source", "target"} <= set(reports):
        difference = float(np.mean(reports["target"].mean - reports["source"].mean))
        if abs(difference) >= 10:
            word = "brighter" if difference > 0 else "darker"
            remarks.append(
                f"The target is {word} than the source by {abs(difference):.0f} of 255 on average."
            )
    return "\n".join(["Worth knowing", *(f"- {remark}" for remark in remarks)]) if remarks else ""


def _absent(report: DomainReport) -> list[str]:
    return [
        name for name, count in zip(report.classes, report.pixels[:-1], strict=True) if not count
    ]


def _overview(reports: Mapping[str, DomainReport]) -> str:
    rows = {
        "dataset": [_lines(report.datasets) for report in reports.values()],
        "images": [str(report.images) for report in reports.values()],
        "sizes": [
            _counted({f"{size[0]}x{size[1]}": n for size, n in report.sizes.most_common()})
            for report in reports.values()
        ],
        "images stored as": [_counted(report.image_kinds) for report in reports.values()],
        "labels stored as": [
            _counted(report.label_kinds) if report.labeled else "not opened"
            for report in reports.values()
        ],
        "mean red, green, blue": [_triple(report.mean) for report in reports.values()],
        "spread over images": [_triple(report.spread) for report in reports.values()],
    }
    table = PrettyTable(["", *reports])
    table.align = "l"
    for name, values in rows.items():
        table.add_row([name, *values])
    return str(table.get_string())


def _classes(reports: Mapping[str, DomainReport]) -> str:
    labeled = {name: report for name, report in reports.items() if report.labeled}
    if not labeled:
        return ""
    table = PrettyTable(
        ["class", *(f"{name}: {what}" for name in labeled for what in ("pixels", "%", "images"))]
    )
    table.align = "r"
    table.align["class"] = "l"
    names = dict.fromkeys(
        name for report in labeled.values() for name in (*report.classes, "ignore")
    )
    for class_name in sorted(names, key=lambda name: name == "ignore"):
        row = [class_name]
        for report in labeled.values():
            everything = (*report.classes, "ignore")
            if class_name not in everything:
                row += ["-"] * 3
                continue
            index = everything.index(class_name)
            share = 100 * report.pixels[index] / max(report.pixels.sum(), 1)
            row += [str(report.pixels[index]), f"{share:.3f}", str(report.images_with[index])]
        table.add_row(row)
    return str(table.get_string())


def _lines(datasets: Sequence[str]) -> str:
    """One dataset per line, folders relative to here where they lie below."""
    here = f"{Path.cwd()}/"
    return "\n".join(text.replace(f" in {here}", " in ").replace(" in ", "\n") for text in datasets)


def _counted(counts: Counter | Mapping[str, int]) -> str:
    items = sorted(counts.items(), key=lambda item: -item[1])
    lines = [f"{kind} ({count})" for kind, count in items[:_MAX_COUNTED]]
    if len(items) > _MAX_COUNTED:
        lines.append(f"and {len(items) - _MAX_COUNTED} others")
    return "\n".join(lines) or "-"


def _triple(values: np.ndarray) -> str:
    return "-" if np.isnan(values).any() else ", ".join(f"{value:.0f}" for value in values)
