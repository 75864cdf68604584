"""The class histogram and the brightness of the domains, as one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmdrsl.datasets.inspection.domain_report import DomainReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {"source": "#1f77b4", "target": "#d62728", "val": "#2ca02c"}
_MARKERS = {"source": "o", "target": "s", "val": "D"}
_SMALLEST_PERCENT = 1e-4


def save_picture(reports: Mapping[str, DomainReport], path: Path) -> None:
    """Draw the share of every class beside the brightness of the images.

    Args:
        reports: Report by domain.
        path: PNG file to write; its folder is made.
    """
    # Here, so that reading the data of a config does not need matplotlib.
    from matplotlib.figure import Figure

    labeled = {name: report for name, report in reports.items() if report.labeled}
    classes = dict.fromkeys(name for report in labeled.values() for name in report.classes)
    rows = [*classes, "ignore"]
    figure = Figure(figsize=(12, max(4.5, 0.36 * len(rows) + 1.5)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_classes(left, labeled, rows)
    _draw_brightness(right, reports)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _draw_classes(axes: Axes, reports: Mapping[str, DomainReport], rows: list[str]) -> None:
    """Points and no bars: the length of a bar means nothing on a logarithmic axis."""
    for number, (name, report) in enumerate(reports.items()):
        counts = dict(zip((*report.classes, "ignore"), report.pixels, strict=True))
        total = max(int(report.pixels.sum()), 1)
        offset = (number - (len(reports) - 1) / 2) * 0.36
        for row, class_name in enumerate(rows):
            if class_name not in counts:
                continue
            share, place = 100 * counts[class_name] / total, row + offset
            if share > 0:
                axes.plot(
                    share, place, _MARKERS[name], color=_COLORS[name], markersize=5, clip_on=False
                )
            # To the left of large shares, so that the text stays inside the axis.
            side, distance = ("right", -6) if share > 10 else ("left", 6)
            axes.annotate(
                f"{share:.3g} %" if share else "none",
                (max(share, _SMALLEST_PERCENT), place),
                (distance, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=7,
                color=_COLORS[name],
            )
        axes.plot([], [], _MARKERS[name], color=_COLORS[name], label=name)
    axes.set_xscale("log")
    axes.set_xlim(_SMALLEST_PERCENT, 100)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([row + 0.5 for row in range(len(rows) - 1)], minor=True)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(which="major", axis="x", alpha=0.4)
    axes.grid(which="minor", axis="y", alpha=0.4)
    axes.set_xlabel("share of all pixels in %, logarithmic")
    axes.set_title("Classes")
    if reports:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)


def _draw_brightness(axes: Axes, reports: Mapping[str, DomainReport]) -> None:
    levels = (np.arange(32) + 0.5) * 8
    for name, report in reports.items():
        if report.histogram.any():
            mean = float(report.mean.mean())
            # Dashed, so that equal curves of target and validation both show.
            style = "--" if name == "val" else "-"
            label = f"{name}, mean {mean:.0f}"
            axes.plot(levels, 100 * report.histogram, style, color=_COLORS[name], label=label)
    axes.set_xlim(0, 256)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("brightness, 0 to 255")
    axes.set_ylabel("share of pixels per 8 levels of brightness in %")
    axes.set_title("Images")
    if axes.lines:
        axes.legend(fontsize=8)
