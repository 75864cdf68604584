"""Parts of a page of HTML that needs no other file: sections, grids of pictures, charts, legends."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmdrsl.visualization.charts import svg_text
from mmdrsl.visualization.colors import IGNORED_COLOR, Palette
from mmdrsl.visualization.report_style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmdrsl.visualization.snapshots import StoredCell


def document(title: str, body: str) -> str:
    """A whole page.

    Args:
        title: Title of the window.
        body: HTML of the body.

    Returns:
        HTML with the style sheet inside.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def section(name: str, title: str, text: str, content: str) -> str:
    """A section with a heading.

    Args:
        name: Its id.
        title: The heading.
        text: Plain text below the heading.
        content: HTML below that.

    Returns:
        HTML, empty where there is no content.
    """
    lead = f"<p>{escape(text)}</p>" if text else ""
    return (
        f'<section id="{name}"><h2>{escape(title)}</h2>{lead}{content}</section>' if content else ""
    )


def table(header: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls where the window is narrow.

    Args:
        header: Titles of the columns.
        rows: HTML of each row.

    Returns:
        HTML.
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def row(name: str, cells: Iterable[str]) -> str:
    """A row of a table.

    Args:
        name: Text of the first cell.
        cells: Texts of the others.

    Returns:
        HTML.
    """
    return (
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    )


def facts(entries: Iterable[tuple[str, str]]) -> str:
    """Names with their texts, one line each.

    Args:
        entries: Names and texts.

    Returns:
        HTML.
    """
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"<dl>{lines}</dl>"


def headings(names: Sequence[str]) -> list[str]:
    """Cells of a grid with the titles of its columns."""
    return [f"<strong>{escape(name[:1].upper() + name[1:])}</strong>" for name in names]


def grid(cells: Sequence[str], columns: int) -> str:
    """Cells in rows of equal length.

    Args:
        cells: HTML of each, row by row.
        columns: Cells of a row.

    Returns:
        HTML.
    """
    style = f"grid-template-columns: repeat({columns}, minmax(120px, 1fr))"
    return f'<div class="scroll"><div class="grid" style="{style}">{"".join(cells)}</div></div>'


def photo(image: np.ndarray) -> str:
    """An image of a data set, RGB of shape (H, W, 3)."""
    return picture(encoded(image, ".jpg"), "jpeg", "input image")


def drawing(image: np.ndarray, caption: str = "") -> str:
    """A drawn label map, RGB of shape (H, W, 3), without loss."""
    return picture(encoded(image, ".png"), "png", "label map", caption)


def chart(figure: Figure, alt: str) -> str:
    """A chart.

    Args:
        figure: The figure.
        alt: What it is, in words.

    Returns:
        HTML.
    """
    return picture(svg_text(figure).encode(), "svg+xml", alt)


def encoded(image: np.ndarray, ending: str) -> bytes:
    """Content of an image file.

    Args:
        image: RGB, shape (H, W, 3), uint8.
        ending: ``.jpg`` or ``.png``.

    Returns:
        The bytes.
    """
    return cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def picture(content: bytes, kind: str, alt: str, caption: str = "") -> str:
    """A picture inside the page, so that the page needs no other file.

    Args:
        content: Bytes of the image file.
        kind: Its type after ``image/``.
        alt: What it is, in words.
        caption: Text below it.

    Returns:
        HTML.
    """
    data = base64.b64encode(content).decode("ascii")
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(alt)}" src="data:image/{kind};base64,{data}">{text}</figure>'


def cell(stored: StoredCell) -> str:
    """A kept picture with its title and caption."""
    kind = "jpeg" if stored.file.suffix == ".jpg" else "png"
    caption = f"{stored.title}, {stored.caption}" if stored.caption else stored.title
    return picture(stored.file.read_bytes(), kind, stored.title, caption)


def class_legend(classes: Sequence[str], palette: Palette) -> str:
    """The color of every class, and of ignored pixels."""
    entries = [([color], name) for color, name in zip(palette, classes, strict=True)]
    return swatches([*entries, ([IGNORED_COLOR], "ignored")])


def swatches(entries: Sequence[tuple[Any, str]]) -> str:
    """A list of names, each behind the colors that stand for it."""
    items = []
    for colors, name in entries:
        squares = "".join(
            f'<i style="background:rgb({",".join(str(int(value)) for value in color)})"></i>'
            for color in colors
        )
        items.append(f"<li>{squares} {escape(name)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'
