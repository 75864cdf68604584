"""Charts of reports: matplotlib figures that need no window, and their text as SVG."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEGEND_COLUMNS = 5
_OTHER_COLOR = "#8a94a6"


def svg_text(figure: Figure) -> str:
    """Save a figure as SVG; equal figures give equal text.

    Args:
        figure: The figure.

    Returns:
        The text of an SVG file.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Without a fixed salt and a fixed date the text would differ between calls, without "none" letters are outlines.
    with rc_context({"svg.hashsalt": "mmdrsl", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib ends some lines with a space.
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def bar_chart(
    categories: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    colors: Mapping[str, str],
    *,
    label: str,
) -> Figure:
    """Horizontal bars of percentages, one group per category.

    Args:
        categories: Group names from top to bottom.
        series: By series name: percentage by category; a category may be missing.
        colors: Color by series name.
        label: Title of the axis, with the unit.

    Returns:
        The figure.
    """
    figure = _figure(9.5, 1.1 + len(categories) * (0.1 + 0.12 * len(series)))
    axes = figure.subplots()
    height = 0.84 / len(series)
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * height
        found = {row: values[name] for row, name in enumerate(categories) if name in values}
        places = [row + offset for row in found]
        lengths = list(found.values())
        bars = axes.barh(places, lengths, 0.9 * height, color=colors[name], label=name)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=6.5)
    axes.set_yticks(range(len(categories)), categories)
    axes.set_ylim(len(categories) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 100)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=_LEGEND_COLUMNS, frameon=False)
    return figure


def line_chart(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], colors: Mapping[str, str]
) -> Figure:
    """Curves over the rounds, one panel per quantity.

    Args:
        panels: By title of the vertical axis, with the unit: by series name: value by round, 0 for the end of the
            warm-up.
        colors: Color by series name.

    Returns:
        The figure.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(9.5, 3.6)
    curves = {}
    for axes, (title, series) in zip(
        figure.subplots(1, len(panels), sharex=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for name, values in series.items():
            rounds = sorted(values)
            curves[name] = axes.plot(
                rounds, [values[number] for number in rounds], "o-", color=colors[name]
            )[0]
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round, 0: end of the warm-up")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    figure.legend(
        curves.values(), curves, loc="outside upper left", ncols=_LEGEND_COLUMNS, frameon=False
    )
    return figure


def step_chart(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]],
    colors: Mapping[str, str],
    *,
    marks: Sequence[int] = (),
    markers: bool = True,
) -> Figure:
    """Curves over the training steps, one panel per quantity.

    Args:
        panels: By title of the vertical axis: by series name: value by step.
        colors: Color by series name.
        marks: Steps that get a dashed line.
        markers: Draw a dot at every value.

    Returns:
        The figure.
    """
    figure = _figure(9.5, 3.6)
    curves = {}
    for axes, (title, series) in zip(
        figure.subplots(1, len(panels), sharex=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for step in marks:
            axes.axvline(step, color=_OTHER_COLOR, linestyle=(0, (3, 3)), linewidth=0.8)
        for name, values in series.items():
            steps = sorted(values)
            # A curve of one value would not show.
            style = "o-" if markers or len(steps) == 1 else "-"
            curves[name] = axes.plot(
                steps,
                [values[step] for step in steps],
                style,
                color=colors[name],
                markersize=4,
                linewidth=1.4,
            )[0]
        axes.set_xlabel("training step")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    figure.legend(
        curves.values(), curves, loc="outside upper left", ncols=_LEGEND_COLUMNS - 1, frameon=False
    )
    return figure


def dot_chart(
    categories: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    colors: Mapping[str, str],
    *,
    label: str,
    references: Collection[str] = (),
) -> Figure:
    """Panels side by side on one scale: a dot per run and a stroke at their mean, one line per category.

    Args:
        categories: Names from top to bottom.
        panels: By panel title: values by category; a category may be missing.
        colors: Color by category; gray for others.
        label: Title of the common axis, with the unit.
        references: Categories whose mean is drawn through all lines of its panel, in their color.

    Returns:
        The figure.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(12.5, 1.3 + 0.27 * len(categories))
    rows = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, panel) in zip(rows, panels.items(), strict=True):
        axes.set_title(title, fontsize=10)
        for row, category in enumerate(categories):
            values, color = panel.get(category, ()), colors.get(category, _OTHER_COLOR)
            if not values:
                continue
            mean = fmean(values)
            if category in references:
                axes.axvline(mean, color=color, linestyle=(0, (2, 2)), linewidth=1)
            axes.plot(values, [row] * len(values), "o", color=color, alpha=0.5, label=category)
            axes.plot(mean, row, "|", color=color, markersize=13, markeredgewidth=2.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.3)
    rows[0].xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    rows[0].set_yticks(range(len(categories)), categories)
    rows[0].set_ylim(len(categories) - 0.5, -0.5)
    figure.supxlabel(label, fontsize=10)
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches; it is not registered with pyplot, so nothing has to close it."""
    # Here, so that importing mmdrsl does not import matplotlib.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
