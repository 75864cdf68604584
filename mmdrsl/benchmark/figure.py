"""The headline of a benchmark as a drawing: every run a dot, one panel for each choice of tricks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmdrsl.benchmark.methods import LOWER_BOUND, UPPER_BOUND, titles_of
from mmdrsl.benchmark.networks import shown_network
from mmdrsl.visualization.charts import dot_chart

NO_TRICKS = "no tricks"
# With fewer there is nothing to see.
LEAST_METHODS = 3
_COLORS = {"drsl": "#f97316", "oracle": "#171a21", "source_only": "#667085"}
_OTHERS = "#3b82f6"
# A file of its own has no page to take its style from.
_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, sans-serif" font-size="12" '
_STYLE = """<style>
.name { fill: #171a21; font-size: 13px; } .tick { fill: #667085; } .grid { stroke: #e4e7ec; }
.reference { stroke: #667085; stroke-dasharray: 3 4; }
</style><rect width="100%" height="100%" rx="14" fill="#fbfcfd"/>"""


def figure(rows: Iterable[Mapping[str, Any]]) -> str:
    """Mean of the sequences of one network, `shown_network`, seed by seed, as an SVG file.

    Comparisons of at least three methods on the usual statistics of prediction have a panel each, named by their
    tricks, and by the evaluation set where there are several; dashed lines are the means of source-only training and of
    the oracle.

    Args:
        rows: Rows with or without gaps.

    Returns:
        The text of the file.

    Raises:
        ValueError: No comparison has that many methods.
    """
    rows = list(rows)
    network = shown_network(rows)
    shown = [
        row
        for row in rows
        if row["model"] == network
        and "target_weight" not in row["evaluation"]
        and "translated_source" not in row["tricks"]
    ]
    sets = {row["evaluation"]["hash"] for row in shown}
    panels: dict[str, dict[str, list[float]]] = {}
    for row in shown:
        title = ", ".join(row["tricks"]) or NO_TRICKS
        if len(sets) > 1:
            title += f" on {row['evaluation']['set']} ({row['evaluation']['hash'][:4]})"
        panel = panels.setdefault(title, {})
        panel.setdefault(row["method"], []).append(row["mean_of_sequences"])
    panels = {title: panel for title, panel in panels.items() if len(panel) >= LEAST_METHODS}
    if not panels:
        raise ValueError(
            f"a figure needs a comparison of at least {LEAST_METHODS} methods with {network}."
        )
    found = titles_of(shown)
    methods = [name for name in found if any(name in panel for panel in panels.values())]
    titles = {name: found[name] for name in methods}
    element = dot_chart(
        list(titles.values()),
        {
            title: {titles[name]: values for name, values in panel.items()}
            for title, panel in panels.items()
        },
        {titles[name]: _COLORS.get(name, _OTHERS) for name in methods},
        label="Mean of the sequences of every run, in percent",
        references=[titles[name] for name in (LOWER_BOUND, UPPER_BOUND) if name in titles],
    )
    head, body = element.split(">", 1)
    return f"{head.replace('<svg ', _HEAD, 1)}>{_STYLE}{body}\n"
