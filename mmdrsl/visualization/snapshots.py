"""Pictures of a run at a step: rows of titled images, kept in a folder and drawn as one sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmdrsl.atomic_files import replacing, write_atomically
from mmdrsl.visualization.page import encoded

THUMBNAIL_WIDTH = 384
_TILE_HEIGHT = 160
_TITLE_HEIGHT = 22
_GAP = 4


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An image with a title.

    Attributes:
        title: What it is, plain ASCII.
        image: RGB, shape (H, W, 3), uint8.
        is_photo: An image of a data set, which may lose detail; a drawing keeps its colors.
        caption: Text below it.
    """

    title: str
    image: np.ndarray
    is_photo: bool = False
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredCell:
    """A cell on the disk.

    Attributes:
        title: As `Cell`.
        file: Its image file.
        caption: As `Cell`.
    """

    title: str
    file: Path
    caption: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What one group of pictures showed at one step.

    Attributes:
        step: Training steps that were done.
        rows: Cells by name of the row.
    """

    step: int
    rows: dict[str, list[StoredCell]]


def save_snapshot(
    folder: Path, group: str, step: int, rows: Sequence[tuple[str, Sequence[Cell]]]
) -> None:
    """Keep rows of pictures, small; a reader finds all of them or none.

    Args:
        folder: Folder of a run's pictures.
        group: Name of the group.
        step: Training steps that are done.
        rows: Names and cells.
    """
    place = folder / f"step_{step:07d}"
    place.mkdir(parents=True, exist_ok=True)
    content = []
    for number, (name, cells) in enumerate(rows):
        stored = []
        for place_in_row, cell in enumerate(cells):
            ending = ".jpg" if cell.is_photo else ".png"
            file = place / f"{group}_{number}_{place_in_row}{ending}"
            with replacing(file) as temporary:
                temporary.write_bytes(
                    encoded(_resized(cell, width=min(THUMBNAIL_WIDTH, cell.image.shape[1])), ending)
                )
            stored.append({"title": cell.title, "file": file.name, "caption": cell.caption})
        content.append({"name": name, "cells": stored})
    write_atomically(place / f"{group}.json", json.dumps(content, indent=1))


def read_snapshots(folder: Path, group: str) -> list[Snapshot]:
    """All snapshots of a group, oldest first.

    Args:
        folder: Folder of a run's pictures.
        group: Name of the group.

    Returns:
        The snapshots.
    """
    found = []
    for record in sorted(folder.glob(f"step_*/{group}.json")):
        rows = {
            row["name"]: [
                StoredCell(
                    title=cell["title"],
                    file=record.parent / cell["file"],
                    caption=cell["caption"],
                )
                for cell in row["cells"]
            ]
            for row in json.loads(record.read_text(encoding="utf-8"))
        }
        found.append(Snapshot(step=int(record.parent.name.removeprefix("step_")), rows=rows))
    return found


def sheet(rows: Sequence[tuple[str, Sequence[Cell]]]) -> np.ndarray:
    """Draw rows of pictures as one image.

    Args:
        rows: Names, which are not drawn, and cells; at least one.

    Returns:
        RGB, shape (H, W, 3), uint8.
    """
    drawn = [np.hstack([_tile(cell) for cell in cells]) for _, cells in rows]
    width = max(row.shape[1] for row in drawn)
    return np.vstack(
        [
            np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
            for row in drawn
        ]
    )


def _tile(cell: Cell) -> np.ndarray:
    height, width = cell.image.shape[:2]
    # A title needs some room, whatever the shape of the image.
    image = _resized(cell, width=max(_TILE_HEIGHT, round(width * _TILE_HEIGHT / height)))
    image = image[:_TILE_HEIGHT]
    tile = np.full((_TITLE_HEIGHT + _TILE_HEIGHT + _GAP, image.shape[1] + _GAP, 3), 255, np.uint8)
    tile[_TITLE_HEIGHT : _TITLE_HEIGHT + image.shape[0], : image.shape[1]] = image
    cv2.putText(
        tile, cell.title, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA
    )
    return tile


def _resized(cell: Cell, *, width: int) -> np.ndarray:
    """The image at a width."""
    height = max(1, round(cell.image.shape[0] * width / cell.image.shape[1]))
    how = cv2.INTER_AREA if cell.is_photo else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(cell.image), (width, height), interpolation=how)
