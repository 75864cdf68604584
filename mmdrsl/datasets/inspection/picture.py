"""The class histogram and the brightness of the domains, as one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmdrsl.datasets.inspection.domain_report import DomainReport

_COLORS = {"source": "#1f77b4", "target": "#d62728", "val": "#2ca02c"}
_SMALLEST_PERCENT = 1e-4


def save_picture(reports: Mapping[str, DomainReport], path: Path) -> None:
    """Draw pixels per class (logarithmic) beside the brightness of the images.

    Args:
        reports: Report by domain.
        path: PNG file to write; its folder is made.
    """
    labeled = {name: report for name, report in reports.items() if report.labeled}
    classes = list(dict.fromkeys(name for report in labeled.values() for name in report.classes))
    figure = Figure(figsize=(12, max(4.5, 0.36 * len(classes) + 1.5)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    positions = np.arange(len(classes))
    height = 0.8 / max(len(labeled), 1)
    for row, (name, report) in enumerate(labeled.items()):
        counts = dict(zip(report.classes, report.pixels[:-1], strict=True))
        total = max(int(report.pixels[:-1].sum()), 1)
        shares = [100 * counts.get(class_name, 0) / total for class_name in classes]
        places = positions + (row - (len(labeled) - 1) / 2) * height
        left.barh(places, shares, height, color=_COLORS[name], label=name)
        for place, share in zip(places, shares, strict=True):
            text, at = (f"{share:.2g} %", share) if share else ("none", _SMALLEST_PERCENT)
            left.text(max(at, _SMALLEST_PERCENT) * 1.1, place, text, va="center", fontsize=7)
    left.set_yticks(positions, classes)
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlim(_SMALLEST_PERCENT, 1000)
    left.set_xlabel("share of labeled pixels in percent")
    left.set_title("Classes")
    if labeled:
        left.legend(loc="upper right", fontsize=8)
    steps = (np.arange(32) + 0.5) * 8
    for name, report in reports.items():
        if report.histogram.any():
            mean = float(report.mean.mean())
            # Dashed, so that equal curves of target and validation both show.
            style = "--" if name == "val" else "-"
            label = f"{name}, mean {mean:.0f}"
            right.plot(steps, 100 * report.histogram, style, color=_COLORS[name], label=label)
    right.set_xlabel("brightness, 0 to 255")
    right.set_ylabel("share of pixels in percent")
    right.set_title("Images")
    if right.lines:
        right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
