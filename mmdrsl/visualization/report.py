"""The report of a comparison: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from mmdrsl.datasets.label_spaces import IGNORE_INDEX
from mmdrsl.visualization import page
from mmdrsl.visualization.charts import bar_chart, line_chart
from mmdrsl.visualization.colors import (
    Palette,
    color_confidence,
    color_labels,
    color_modes,
    method_colors,
    mode_shades,
)
from mmdrsl.visualization.summary import occurring_classes, order_sentence, table_rows

# It trains on the labels that the others must do without, so it is never marked as the best.
_UPPER_BOUND = "oracle"


@dataclass(frozen=True, kw_only=True)
class ValidationImage:
    """One validation image with its truth and what each method predicts.

    Attributes:
        image: RGB, shape (H, W, 3), uint8.
        truth: Train ids, shape (H, W).
        predictions: Train ids of shape (H, W) by method; the same methods in every image.
    """

    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PseudoLabelSeries:
    """Pseudo labels of one target training image over the rounds.

    Attributes:
        method: The method that made them.
        image: RGB, shape (H, W, 3), uint8.
        labels: Train ids of shape (H, W) by round; `IGNORE_INDEX` got no label.
        confidence: Confidence in the last round, shape (H, W), uint8, 0..255 for 0..1.
    """

    method: str
    image: np.ndarray
    labels: Mapping[int, np.ndarray]
    confidence: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ModePair:
    """Modes of a source image beside those of a target image.

    Attributes:
        images: RGB of shape (H, W, 3), uint8, by look.
        classes: Predicted train ids of shape (H, W), by look.
        modes: Modes in [0, K) of shape (H, W), by look.
    """

    images: Mapping[str, np.ndarray]
    classes: Mapping[str, np.ndarray]
    modes: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows; sections without content are left out.

    Attributes:
        titles: Title by method, in the order of the columns.
        summary: ``seed``, ``minutes``, and by method ``mIoU``, ``aAcc`` and ``IoU`` in percent.
        setting: Sentences on what was run.
        facts: Names and texts: command, versions.
        result_text: Sentences above the table.
        classes: Class names in the order of the train ids.
        palette: One RGB color (0..255) per class.
        validation: Validation images.
        pseudo_labels: Pseudo labels of target training images.
        mode_pairs: Mode maps, with K modes per class.
        num_modes: K; 0 without mode maps.
        miou: By method: mIoU in percent by round.
        coverage: By method: share of labeled pixels in percent by round.
    """

    titles: Mapping[str, str]
    summary: Mapping[str, Any]
    setting: str
    facts: Sequence[tuple[str, str]] = ()
    result_text: str = ""
    classes: Sequence[str]
    palette: Palette
    validation: Sequence[ValidationImage] = ()
    pseudo_labels: Sequence[PseudoLabelSeries] = ()
    mode_pairs: Sequence[ModePair] = ()
    num_modes: int = 0
    miou: Mapping[str, Mapping[int, float]]
    coverage: Mapping[str, Mapping[int, float]]


def render_report(report: Report) -> str:
    """Write the page.

    Args:
        report: What to show.

    Returns:
        HTML with styles, pictures and charts inside; it loads nothing from elsewhere.
    """
    sections = [
        page.section("results", "Result", report.result_text, _table(report)),
        page.section(
            "classes", "IoU per class", "Final weights, all validation images.", _bars(report)
        ),
        page.section(
            "rounds",
            "Over the rounds",
            "Left: mIoU on the validation images at the end of the warm-up and of every round. "
            "Right: share of the target training pixels that got a pseudo label.",
            _curves(report),
        ),
        page.section(
            "predictions",
            "Validation images",
            "Taken at even steps from the set, not by result. Under a prediction stands its pixel "
            "accuracy. Dark pixels of the truth are not counted.",
            _predictions(report),
        ),
        page.section(
            "pseudo-labels",
            "Pseudo labels",
            "Target training images and the labels each round trains on. Dark pixels have none; "
            "confidence runs from violet (0) to yellow (1).",
            "".join(_pseudo_labels(series, report) for series in report.pseudo_labels),
        ),
        page.section(
            "modes",
            "Modes",
            f"DRSL describes every class by {report.num_modes} modes that both domains share. Each "
            "pixel is drawn in its predicted class's color, in the shade of the mode nearest to "
            "its embedding (interpolated from the feature map). Each look is normalized by the "
            "statistics under which it was trained. Alike things should have the same shade in both "
            "looks.",
            _modes(report),
        ),
        page.section("legend", "Legend", "", _legend(report)),
        page.section("run", "What was run", "", page.facts(report.facts) if report.facts else ""),
    ]
    return page.document("mmdrsl demo report", _header(report) + "".join(sections))


def _header(report: Report) -> str:
    colors = method_colors(report.titles)
    tiles = "".join(
        f'<div style="border-color:{colors[method]}">{escape(title)}'
        f"<b>{report.summary[method]['mIoU']:.1f}</b> % mIoU</div>"
        for method, title in report.titles.items()
    )
    ranked = {name: title for name, title in report.titles.items() if name != _UPPER_BOUND}
    return (
        "<header><h1>From game scenes to camera scenes, without a target label</h1>"
        f'<p>{escape(report.setting)}</p><div class="tiles">{tiles}</div>'
        f"<p><strong>{escape(order_sentence(report.summary, ranked))}</strong></p>"
        f"<p>Seed {report.summary['seed']} · {report.summary['minutes']:.1f} minutes "
        "· one seed, final weights, no selection on the validation images</p></header>"
    )


def _table(report: Report) -> str:
    header, *rows = table_rows(report.summary, report.classes, report.titles)
    ranked = [method != _UPPER_BOUND for method in report.titles]
    return page.table(header, [_table_row(row, ranked) for row in rows])


def _table_row(row: Sequence[str], ranked: Sequence[bool]) -> str:
    """One row with the largest number of the ranked columns marked, unless all of these are equal."""
    name, *cells = row
    numbers = {
        float(cell) for cell, ranks in zip(cells, ranked, strict=True) if ranks and cell != "-"
    }
    best = f"{max(numbers):.1f}" if len(numbers) > 1 else None
    marked = "".join(
        f'<td class="best">{cell}</td>' if ranks and cell == best else f"<td>{cell}</td>"
        for cell, ranks in zip(cells, ranked, strict=True)
    )
    return f"<tr><th>{escape(name)}</th>{marked}</tr>"


def _bars(report: Report) -> str:
    series = {
        title: report.summary[method]["IoU"]
        for method, title in report.titles.items()
        if report.summary[method].get("IoU")
    }
    classes = occurring_classes(report.summary, report.classes, report.titles)
    if not series:
        return ""
    chart = bar_chart(classes, series, _colors_by_title(report), label="IoU in %")
    return page.chart(chart, "Bars of the IoU per class")


def _curves(report: Report) -> str:
    panels = {
        label: {report.titles[method]: values for method, values in curves.items() if values}
        for label, curves in (
            ("mIoU in %", report.miou),
            ("labeled pixels in %", report.coverage),
        )
    }
    if not any(panels.values()):
        return ""
    return page.chart(line_chart(panels, _colors_by_title(report)), "Curves over the rounds")


def _colors_by_title(report: Report) -> dict[str, str]:
    colors = method_colors(report.titles)
    return {title: colors[method] for method, title in report.titles.items()}


def _predictions(report: Report) -> str:
    if not report.validation:
        return ""
    methods = [name for name in report.titles if name in report.validation[0].predictions]
    cells = page.headings(["Input", "Truth", *(report.titles[method] for method in methods)])
    for item in report.validation:
        cells += [page.photo(item.image), page.drawing(color_labels(item.truth, report.palette))]
        for method in methods:
            prediction = item.predictions[method]
            accuracy = f"{100 * _pixel_accuracy(prediction, item.truth):.1f} %"
            cells.append(page.drawing(color_labels(prediction, report.palette), accuracy))
    return page.grid(cells, len(methods) + 2)


def _pixel_accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    counted = truth != IGNORE_INDEX
    return float((prediction == truth)[counted].mean()) if counted.any() else 0.0


def _pseudo_labels(series: PseudoLabelSeries, report: Report) -> str:
    names = [f"Round {number}" for number in series.labels]
    cells = page.headings([report.titles[series.method], *names, "Confidence"])
    cells.append(page.photo(series.image))
    for labels in series.labels.values():
        share = float((labels != IGNORE_INDEX).mean())
        drawn = color_labels(labels, report.palette)
        cells.append(page.drawing(drawn, f"{100 * share:.0f} % labeled"))
    cells.append(page.drawing(color_confidence(series.confidence), "last round"))
    return page.grid(cells, len(names) + 2)


def _modes(report: Report) -> str:
    if not report.mode_pairs:
        return ""
    looks = list(report.mode_pairs[0].images)
    cells = page.headings([name for look in looks for name in (f"{look}: input", f"{look}: modes")])
    present: set[int] = set()
    for pair in report.mode_pairs:
        for look in looks:
            present |= {int(index) for index in np.unique(pair.classes[look])}
            drawn = color_modes(
                pair.classes[look], pair.modes[look], report.palette, report.num_modes
            )
            cells += [page.photo(pair.images[look]), page.drawing(drawn)]
    shades = mode_shades(report.palette, report.num_modes)
    entries = [(shades[index], report.classes[index]) for index in sorted(present)]
    return page.grid(cells, 2 * len(looks)) + page.swatches(entries)


def _legend(report: Report) -> str:
    return page.class_legend(report.classes, report.palette)
