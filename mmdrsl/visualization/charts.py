"""Small charts as inline SVG; text and lines take their colors from the page's style sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil

_WIDTH = 760
_TOP = 18


def bar_chart(
    categories: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    colors: Mapping[str, str],
) -> str:
    """Horizontal bars of percentages, one group per category.

    Args:
        categories: Group names from top to bottom.
        series: By series name: percentage by category; a category may be missing.
        colors: CSS color by series name.

    Returns:
        An SVG element.
    """
    left, right, bar, gap = 128.0, 44.0, 10.0, 12.0
    group = bar * len(series) + gap
    height = _TOP + group * len(categories) + 8
    scale = (_WIDTH - left - right) / 100
    parts = []
    for tick in range(0, 101, 20):
        x = left + tick * scale
        parts += [_line(x, _TOP, x, height - 8, "grid"), _text(x, 11, f"{tick} %", "middle")]
    for row, category in enumerate(categories):
        top = _TOP + row * group + gap / 2
        parts.append(_text(left - 10, top + bar * len(series) / 2 + 4, category, "end", "name"))
        for index, (name, values) in enumerate(series.items()):
            if category not in values:
                continue
            value, y = values[category], top + index * bar
            parts.append(
                f'<rect x="{left:g}" y="{y:g}" width="{max(value * scale, 1):.1f}" '
                f'height="{bar - 1.5}" rx="1.5" fill="{colors[name]}">'
                f"<title>{escape(name)}, {escape(category)}: {value:.1f} %</title></rect>"
            )
            parts.append(
                _text(left + value * scale + 5, y + bar - 2, f"{value:.1f}", "start", "value")
            )
    return _svg(_WIDTH, height, "Bars of percentages per class", parts)


def line_chart(
    series: Mapping[str, Mapping[int, float]], colors: Mapping[str, str], *, label: str
) -> str:
    """Curves of percentages over the rounds.

    Args:
        series: By series name: percentage by round; round 0 is the end of the warm-up.
        colors: CSS color by series name.
        label: What the curves show, for readers of the page that see no pictures.

    Returns:
        An SVG element.

    Raises:
        ValueError: There is no point to draw.
    """
    points = [point for values in series.values() for point in values.items()]
    if not points:
        raise ValueError(f"The chart {label!r} has no point; give at least one round's value.")
    width, height, left, right, bottom = 460, 280, 48, 24, 34
    rounds = sorted({number for number, _ in points})
    ticks = _ticks([value for _, value in points])
    x_scale = (width - left - right) / max(rounds[-1] - rounds[0], 1)
    y_scale = (height - _TOP - bottom) / (ticks[-1] - ticks[0])

    def place(number: int, value: float) -> tuple[float, float]:
        return (
            left + (number - rounds[0]) * x_scale,
            height - bottom - (value - ticks[0]) * y_scale,
        )

    parts = []
    for tick in ticks:
        y = place(rounds[0], tick)[1]
        parts.append(_line(left, y, width - right, y, "grid"))
        parts.append(_text(left - 8, y + 4, f"{tick:g} %", "end"))
    for number in rounds:
        name = f"round {number}" if number else "warm-up"
        parts.append(_text(place(number, 0)[0], height - 10, name, "middle"))
    for name, values in series.items():
        parts += _curve(name, [place(*point) for point in sorted(values.items())], colors[name])
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colors[name]}">'
            f"<title>{escape(name)}: {value:.1f} %</title></circle>"
            for (x, y), value in ((place(*point), point[1]) for point in values.items())
        ]
    return _svg(width, height, label, parts)


def dot_chart(
    categories: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    colors: Mapping[str, str],
    *,
    label: str,
    references: Sequence[str] = (),
) -> str:
    """Panels side by side on one scale: a dot per run and a stroke at their mean, one line per category.

    Args:
        categories: Names from top to bottom.
        panels: By panel title: percentages by category; a category may be missing.
        colors: CSS color by category; gray for others.
        label: What the chart shows, for readers of the page that see no pictures.
        references: Categories whose mean is drawn through all lines of its panel.

    Returns:
        An SVG element.

    Raises:
        ValueError: There is no value to draw.
    """
    found = [value for panel in panels.values() for values in panel.values() for value in values]
    if not found:
        raise ValueError(f"The chart {label!r} has no value; give at least one run's.")
    width, left, gap, row, top = 1120, 176.0, 36.0, 24.0, 52.0
    panel_width = (width - left - gap * len(panels)) / len(panels)
    ticks = _ticks(found)
    scale = panel_width / (ticks[-1] - ticks[0])
    bottom = top + row * len(categories)
    parts = [
        _text(left - 12, top + row * (index + 0.5) + 4, category, "end", "name")
        for index, category in enumerate(categories)
    ]
    for number, (title, panel) in enumerate(panels.items()):
        begin = left + number * (panel_width + gap)

        def place(value: float, begin: float = begin) -> float:
            return begin + (value - ticks[0]) * scale

        parts.append(_text(begin, 18, title, "start", "name"))
        for tick in ticks:
            parts.append(_line(place(tick), top - 6, place(tick), bottom, "grid"))
            parts.append(_text(place(tick), top - 12, f"{tick:g}", "middle"))
        for name in references:
            if panel.get(name):
                x = place(sum(panel[name]) / len(panel[name]))
                parts.append(_line(x, top - 6, x, bottom, "reference"))
        for index, category in enumerate(categories):
            values, color = panel.get(category, ()), colors.get(category, "#8a94a6")
            y = top + row * (index + 0.5)
            parts += [
                f'<circle cx="{place(value):.1f}" cy="{y:g}" r="4" fill="{color}" fill-opacity="0.55">'
                f"<title>{escape(category)}, {escape(title)}: {value:.1f} %</title></circle>"
                for value in values
            ]
            if values:
                x = place(sum(values) / len(values))
                parts.append(
                    f'<line x1="{x:.1f}" y1="{y - 8:g}" x2="{x:.1f}" y2="{y + 8:g}" stroke="{color}" '
                    f'stroke-width="3" stroke-linecap="round"/>'
                )
    return _svg(width, bottom + 10, label, parts)


def _ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round numbers around the values."""
    span = max(max(values) - min(values), 2.0)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if span / step <= 5)
    first = max(min(values) // step * step, 0)
    count = max(ceil((max(values) - first) / step), 1)
    return [first + step * index for index in range(count + 1)]


def _curve(name: str, points: Sequence[tuple[float, float]], color: str) -> Iterator[str]:
    for (x1, y1), (x2, y2) in pairwise(points):
        yield (
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-width="2.5" stroke-linecap="round"><title>{escape(name)}</title></line>'
        )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">'
        f"{escape(text)}</text>"
    )


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
