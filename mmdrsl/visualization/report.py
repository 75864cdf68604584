"""The report of a comparison: one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import cv2
import numpy as np

from mmdrsl.datasets.label_spaces import IGNORE_INDEX
from mmdrsl.visualization.charts import bar_chart, line_chart
from mmdrsl.visualization.colors import (
    IGNORED_COLOR,
    Palette,
    color_confidence,
    color_labels,
    color_modes,
    mode_shades,
)
from mmdrsl.visualization.report_style import STYLE
from mmdrsl.visualization.summary import (
    METHOD_TITLES,
    occurring_classes,
    order_sentence,
    table_rows,
)

_COLORS = {
    METHOD_TITLES["source_only"]: "#8b95a7",
    METHOD_TITLES["self_training"]: "#3b82f6",
    METHOD_TITLES["drsl"]: "#f97316",
}


@dataclass(frozen=True, kw_only=True)
class ValidationImage:
    """One validation image with its truth and what each method predicts.

    Attributes:
        image: RGB, shape (H, W, 3), uint8.
        truth: Train ids, shape (H, W).
        predictions: Train ids of shape (H, W) by method.
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
    """Everything that the page shows.

    Attributes:
        summary: ``seed``, ``minutes``, and by method ``mIoU``, ``aAcc`` and ``IoU`` in percent.
        setting: Sentences on what was run.
        classes: Class names in the order of the train ids.
        palette: One RGB color (0..255) per class.
        validation: Validation images.
        pseudo_labels: Pseudo labels of target training images.
        mode_pairs: Mode maps, with K modes per class.
        num_modes: K.
        miou: By method: mIoU in percent by round.
        coverage: By method: share of labeled pixels in percent by round.
    """

    summary: Mapping[str, Any]
    setting: str
    classes: Sequence[str]
    palette: Palette
    validation: Sequence[ValidationImage]
    pseudo_labels: Sequence[PseudoLabelSeries]
    mode_pairs: Sequence[ModePair]
    num_modes: int
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
        _section("results", "Result", "", _table(report)),
        _section(
            "classes",
            "IoU per class",
            "Final weights of each run on all validation images, in percent.",
            _keys(_COLORS)
            + bar_chart(
                occurring_classes(report.summary, report.classes),
                {title: report.summary[name]["IoU"] for name, title in METHOD_TITLES.items()},
                _COLORS,
            ),
        ),
        _section(
            "rounds",
            "Over the rounds",
            "Left: mIoU on the validation images at the end of the warm-up and of every round. "
            "Right: share of the target training pixels that got a pseudo label.",
            _curves(report),
        ),
        _section(
            "predictions",
            "Validation images",
            "Taken at even steps from the set, not by result. Under a prediction stands its pixel "
            "accuracy. Dark pixels of the truth are not counted.",
            _predictions(report),
        ),
        _section(
            "pseudo-labels",
            "Pseudo labels",
            "Target training images and the labels each round trains on. Dark pixels have none; "
            "confidence runs from violet (0) to yellow (1).",
            "".join(_pseudo_labels(series, report.palette) for series in report.pseudo_labels),
        ),
        _section(
            "modes",
            "Modes",
            f"DRSL describes every class by {report.num_modes} modes that both domains share. Each "
            "pixel is drawn in its predicted class's color, in the shade of the mode nearest to "
            "its embedding (interpolated from the feature map). Alike things should have the same "
            "shade in both looks.",
            _modes(report),
        ),
        _section("legend", "Legend", "", _legend(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>mmdrsl demo report</title>"
        f"<style>{STYLE}</style></head><body>"
        f"{_header(report)}<main>{''.join(sections)}</main></body></html>\n"
    )


def _header(report: Report) -> str:
    tiles = "".join(
        f'<div class="tile"><span style="--key:{_COLORS[title]}">{escape(title)}</span>'
        f"<b>{report.summary[method]['mIoU']:.1f}<small> % mIoU</small></b></div>"
        for method, title in METHOD_TITLES.items()
    )
    return (
        "<header><p class='kicker'>mmdrsl demo</p>"
        "<h1>From game scenes to camera scenes, without a target label</h1>"
        f"<p>{escape(report.setting)}</p>"
        f'<div class="tiles">{tiles}</div>'
        f'<p class="order">{escape(order_sentence(report.summary))}</p>'
        f'<p class="facts">Seed {report.summary["seed"]} · {report.summary["minutes"]:.1f} minutes '
        "· one seed, final weights, no selection on the validation images</p></header>"
    )


def _section(name: str, title: str, text: str, content: str) -> str:
    lead = f"<p>{escape(text)}</p>" if text else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{lead}{content}</section>'


def _table(report: Report) -> str:
    header, *rows = table_rows(report.summary, report.classes)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(_table_row(row) for row in rows)
    return (
        '<div class="scroll"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _table_row(row: Sequence[str]) -> str:
    """One row with its largest number marked, unless all are equal."""
    numbers = [float(cell) if cell[0].isdigit() else -1.0 for cell in row[1:]]
    best = max(numbers) if max(numbers) > min(numbers) else None
    cells = "".join(
        f'<td class="best">{cell}</td>' if number == best else f"<td>{cell}</td>"
        for cell, number in zip(row[1:], numbers, strict=True)
    )
    return f"<tr><th>{escape(row[0])}</th>{cells}</tr>"


def _curves(report: Report) -> str:
    charts = []
    for label, curves in (
        ("mIoU per round", report.miou),
        ("Pseudo label coverage per round", report.coverage),
    ):
        named = {METHOD_TITLES[method]: values for method, values in curves.items() if values}
        chart = line_chart(named, _COLORS, label=label) if named else "<p>Nothing recorded.</p>"
        charts.append(f"<figure>{chart}<figcaption>{escape(label)}</figcaption></figure>")
    adapted = {METHOD_TITLES[method]: _COLORS[METHOD_TITLES[method]] for method in report.miou}
    return f'{_keys(adapted)}<div class="pair">{"".join(charts)}</div>'


def _predictions(report: Report) -> str:
    cells = _headings(["Input", "Truth", *METHOD_TITLES.values()])
    for item in report.validation:
        cells.append(_photo(item.image))
        cells.append(_drawing(color_labels(item.truth, report.palette)))
        for method in METHOD_TITLES:
            prediction = item.predictions[method]
            cells.append(
                _drawing(
                    color_labels(prediction, report.palette),
                    f"{100 * _pixel_accuracy(prediction, item.truth):.1f} %",
                )
            )
    return _grid(cells, 5)


def _pixel_accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    counted = truth != IGNORE_INDEX
    return float((prediction == truth)[counted].mean()) if counted.any() else 0.0


def _pseudo_labels(series: PseudoLabelSeries, palette: Palette) -> str:
    names = [f"Round {number}" for number in series.labels]
    cells = _headings([METHOD_TITLES[series.method], *names, "Confidence"])
    cells.append(_photo(series.image))
    for labels in series.labels.values():
        share = float((labels != IGNORE_INDEX).mean())
        cells.append(_drawing(color_labels(labels, palette), f"{100 * share:.0f} % labeled"))
    cells.append(_drawing(color_confidence(series.confidence), "last round"))
    return _grid(cells, len(names) + 2)


def _modes(report: Report) -> str:
    looks = list(report.mode_pairs[0].images) if report.mode_pairs else []
    cells = _headings([name for look in looks for name in (f"{look}: input", f"{look}: modes")])
    present: set[int] = set()
    for pair in report.mode_pairs:
        for look in looks:
            present |= {int(index) for index in np.unique(pair.classes[look])}
            drawn = color_modes(
                pair.classes[look], pair.modes[look], report.palette, report.num_modes
            )
            cells += [_photo(pair.images[look]), _drawing(drawn)]
    shades = mode_shades(report.palette, report.num_modes)
    entries = "".join(
        f"<li>{''.join(_swatch(shade) for shade in shades[index])}"
        f"{escape(report.classes[index])}</li>"
        for index in sorted(present)
    )
    return f'{_grid(cells, 2 * len(looks))}<ul class="legend shades">{entries}</ul>'


def _legend(report: Report) -> str:
    entries = [*zip(report.palette, report.classes, strict=True), (IGNORED_COLOR, "ignored")]
    items = "".join(f"<li>{_swatch(color)}{escape(name)}</li>" for color, name in entries)
    return f'<ul class="legend">{items}</ul>'


def _swatch(color: Sequence[int] | np.ndarray) -> str:
    return f'<i style="background:rgb({",".join(str(int(value)) for value in color)})"></i>'


def _keys(colors: Mapping[str, str]) -> str:
    items = "".join(
        f'<span style="--key:{color}">{escape(name)}</span>' for name, color in colors.items()
    )
    return f'<p class="keys">{items}</p>'


def _headings(names: Sequence[str]) -> list[str]:
    return [f"<div class='heading'>{escape(name)}</div>" for name in names]


def _grid(cells: Sequence[str], columns: int) -> str:
    return (
        f'<div class="scroll"><div class="grid" style="--columns:{columns}">'
        f"{''.join(cells)}</div></div>"
    )


def _photo(image: np.ndarray) -> str:
    return _figure(image, ".jpg", "image/jpeg", "", "input image")


def _drawing(image: np.ndarray, caption: str = "") -> str:
    return _figure(image, ".png", "image/png", caption, "label map")


def _figure(image: np.ndarray, ending: str, kind: str, caption: str, alt: str) -> str:
    """Embed an RGB picture in the page."""
    encoded = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    content = base64.b64encode(encoded.tobytes()).decode("ascii")
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{alt}" src="data:{kind};base64,{content}">{text}</figure>'
