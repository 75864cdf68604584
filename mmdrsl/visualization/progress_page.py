"""What a comparison shows before it is finished: how far it is, and the newest pictures of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from mmdrsl.visualization import page
from mmdrsl.visualization.run_report import FOLDER
from mmdrsl.visualization.snapshots import read_snapshots

# What says most comes first.
_GROUPS = ("validation", "target", "batch")


def render_progress(
    *,
    heading: str,
    state: str,
    images: Sequence[tuple[str, np.ndarray]],
    runs: Mapping[str, Path],
) -> str:
    """Write the page.

    Args:
        heading: Heading of the page.
        state: How far the comparison is.
        images: Titles and images of the data, RGB of shape (H, W, 3), uint8.
        runs: Work folder by title; those without a picture yet are left out.

    Returns:
        HTML that loads nothing from elsewhere.
    """
    cells = page.headings([title for title, _ in images])
    cells += [page.photo(image) for _, image in images]
    sections = [page.section("data", "Data", "", page.grid(cells, len(images)))]
    for number, (title, folder) in enumerate(runs.items()):
        found = [read_snapshots(folder / FOLDER, group) for group in _GROUPS]
        newest = next((snapshots[-1] for snapshots in found if snapshots), None)
        if newest is None:
            continue
        rows = [page.grid([*map(page.cell, row)], len(row)) for row in newest.rows.values()]
        text = f"At step {newest.step}."
        heading_of_run = title[:1].upper() + title[1:]
        sections.append(page.section(f"run-{number}", heading_of_run, text, "".join(rows)))
    header = (
        f"<header><h1>{escape(heading)}</h1><p><strong>Not finished: {escape(state)}.</strong> This page is renewed "
        "while the comparison runs; load it again to see more.</p></header>"
    )
    return page.document(heading, header + "".join(sections))
