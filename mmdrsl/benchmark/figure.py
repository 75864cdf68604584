"""The headline of a benchmark as a drawing: every run a dot, one panel for each choice of tricks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdrsl.benchmark.methods import LOWER_BOUND, UPPER_BOUND, titles_of
from mmdrsl.benchmark.networks import shown_network
from mmdrsl.visualization.charts import dot_chart, svg_text
from mmdrsl.visualization.colors import method_colors

NO_TRICKS = "no tricks"
# With fewer there is nothing to see.
LEAST_METHODS = 3
# Target images in the batch without a loss: what frozen statistics do by themselves.
CONTROL = "target_unused"
CONTROL_TITLE = "Target unused, frozen statistics"
# Drawn first, and as lines through their panels.
_REFERENCES = (LOWER_BOUND, CONTROL, UPPER_BOUND)
_HIGHLIGHTS = (*_REFERENCES, "drsl")
_OTHERS = "#3b82f6"


def figure(rows: Iterable[Mapping[str, Any]], *, control: Sequence[float] = ()) -> str:
    """Mean of the sequences of one network, `shown_network`, seed by seed, as an SVG file.

    Comparisons of at least three methods on the usual statistics of prediction have a panel each, named by their
    tricks, and by the evaluation set where there are several. A method with several translated sets has a line for
    each. Dashed lines are the means of source-only training, of
    the control and of the oracle, as far as a panel has them.

    Args:
        rows: Rows with or without gaps.
        control: Means of the sequences of the control without tricks, where it has no rows, see `control_scores`.

    Returns:
        The text of the file.

    Raises:
        ValueError: No comparison has that many methods, or there are several evaluation sets for one control.
    """
    rows = list(rows)
    network = shown_network(rows)
    shown = [
        dict(row)
        for row in rows
        if row["model"] == network
        and "target_weight" not in row["evaluation"]
        and "translated_source" not in row["tricks"]
    ]
    sets = {row["evaluation"]["hash"] for row in shown}
    if control and len(sets) > 1:
        raise ValueError(
            f"the control is of one evaluation set, and the results are of {len(sets)}: name those of one."
        )
    titles = titles_of(shown)
    # Method by title, which names what made the source images where a method has several.
    methods: dict[str, str] = {}
    panels: dict[str, dict[str, list[float]]] = {}
    for row in sorted(shown, key=lambda row: list(titles).index(row["method"])):
        name = ",\n".join(row["tricks"]) or NO_TRICKS
        if len(sets) > 1:
            name += f"\non {row['evaluation']['set']} ({row['evaluation']['hash'][:4]})"
        category = titles[row["method"]]
        made_by = row.get("translations")
        if any(
            other["method"] == row["method"] and other.get("translations") != made_by
            for other in shown
        ):
            category += f" ({made_by or 'originals'})"
        methods[category] = row["method"]
        panels.setdefault(name, {}).setdefault(category, []).append(row["mean_of_sequences"])
    if control and NO_TRICKS in panels:
        title = titles.get(CONTROL, CONTROL_TITLE)
        methods[title] = CONTROL
        panels[NO_TRICKS].setdefault(title, list(control))
    panels = {name: panel for name, panel in panels.items() if len(panel) >= LEAST_METHODS}
    if not panels:
        raise ValueError(
            f"a figure needs a comparison of at least {LEAST_METHODS} methods with {network}."
        )
    drawn = {
        title: method
        for title, method in methods.items()
        if any(title in panel for panel in panels.values())
    }
    colors = method_colors(_HIGHLIGHTS)
    chart = dot_chart(
        sorted(
            drawn,
            key=lambda title: (
                _REFERENCES.index(drawn[title]) if drawn[title] in _REFERENCES else len(_REFERENCES)
            ),
        ),
        panels,
        {title: colors.get(method, _OTHERS) for title, method in drawn.items()},
        label="mIoU in %, mean of the sequences",
        references=[title for title, method in drawn.items() if method in _REFERENCES],
    )
    return svg_text(chart)


def control_scores(path: Path) -> list[float]:
    """The control's means of the sequences, of a file of the results on statistics of normalization.

    Args:
        path: The file, such as docs/results/normalization_carla2camvid.json.

    Returns:
        One number per seed.

    Raises:
        ValueError: It has no such row.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        seeds = content["rows"]["target images without any loss"]["frozen"]
        return [entry["mean_of_sequences"] for entry in seeds.values()]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} has no row of target images without any loss under frozen statistics ({error!r}): name "
            "docs/results/normalization_carla2camvid.json."
        ) from error
