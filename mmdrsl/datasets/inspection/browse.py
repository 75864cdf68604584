"""Pictures of training samples as the model gets them: labels drawn over images, both domains side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdrsl.datasets.label_spaces import IGNORE_INDEX
from mmdrsl.datasets.two_domain import DomainSample, TwoDomainDataset, seeded
from mmdrsl.visualization.colors import color_labels

_OPACITY = 0.55
_GAP = 8
_LINE = 22
_PAPER = (255, 255, 255)
_INK = (20, 20, 20)
_LEGEND_COLUMN = 150


def draw_pair(dataset: Any, index: int, seed: int) -> np.ndarray:
    """Draw one training sample of every domain, images above, labels over them below.

    Args:
        dataset: A `TwoDomainDataset`, or any dataset of MMSegmentation with its training pipeline.
        index: Which image; of each domain counted from the start again.
        seed: Seed of the random transforms.

    Returns:
        RGB, shape (H, W, 3), uint8.

    Raises:
        ValueError: A label is outside the classes.
    """
    palette = dataset.metainfo["palette"]
    samples = _samples(dataset, index, seed)
    labels = {name: _label(packed) for name, packed in samples.items()}
    columns = [_column(name, packed, labels[name], palette) for name, packed in samples.items()]
    height = max(column.shape[0] for column in columns)
    padded = [_on_paper(column, height, column.shape[1] + _GAP) for column in columns]
    picture = np.hstack(padded)
    present = np.unique(np.concatenate([label.ravel() for label in labels.values()]))
    legend = _legend(present, dataset.metainfo["classes"], palette, picture.shape[1])
    return np.vstack([picture, legend])


def save_pictures(dataset: Any, folder: Path, number: int, seed: int) -> list[Path]:
    """Draw several samples, spread over the dataset.

    Args:
        dataset: As for `draw_pair`.
        folder: Where the PNG files go; made where it is missing.
        number: How many pictures.
        seed: Seed of choice and transforms.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    length = max(map(len, dataset.domains.values())) if _is_pair(dataset) else len(dataset)
    order = np.random.default_rng(seed).permutation(length)
    paths = []
    for position in range(number):
        picture = draw_pair(dataset, int(order[position % length]), seed + position)
        paths.append(folder / f"sample_{position:03d}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


def _is_pair(dataset: Any) -> bool:
    return isinstance(dataset, TwoDomainDataset)


def _samples(dataset: Any, index: int, seed: int) -> dict[str, Any]:
    """A packed sample by domain."""
    if _is_pair(dataset):
        return {
            name: dataset[DomainSample(name, index % len(part), seed)]
            for name, part in dataset.domains.items()
        }
    with seeded(seed):
        return {"source": dataset[index % len(dataset)]}


def _label(packed: Any) -> np.ndarray:
    return packed["data_samples"].gt_sem_seg.data[0].numpy().astype(np.uint8)


def _column(
    name: str, packed: Any, label: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Title, image, and image with label."""
    image = packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]
    colors = color_labels(label, palette)
    labeled = label != IGNORE_INDEX
    mixed = (1 - _OPACITY) * image + _OPACITY * colors
    # What is ignored stays visible, but dim.
    drawn = np.where(labeled[..., None], mixed, 0.35 * image).astype(np.uint8)
    path = Path(packed["data_samples"].metainfo.get("img_path", ""))
    share = 100 * float(labeled.mean())
    height, width = image.shape[:2]
    title = _text_line(f"{name}: {path.name}", width)
    if not labeled.any():
        return np.vstack([title, image, _text_line(f"{width}x{height}, no label", width)])
    below = _text_line(f"{width}x{height}, {share:.0f} % of pixels labeled", width)
    return np.vstack([title, image, below, drawn])


def _text_line(text: str, width: int) -> np.ndarray:
    line = np.full((_LINE, width, 3), _PAPER, np.uint8)
    scale = min(0.45, 0.45 * width / max(cv2.getTextSize(text, 0, 0.45, 1)[0][0] + 8, 1))
    cv2.putText(line, text, (2, _LINE - 7), 0, scale, _INK, 1, cv2.LINE_AA)
    return line


def _on_paper(image: np.ndarray, height: int, width: int) -> np.ndarray:
    paper = np.full((height, width, 3), _PAPER, np.uint8)
    paper[: image.shape[0], : image.shape[1]] = image
    return paper


def _legend(
    present: np.ndarray, classes: Sequence[str], palette: Sequence[Sequence[int]], width: int
) -> np.ndarray:
    """Color boxes and names of the classes that occur."""
    shown = [int(train_id) for train_id in present if train_id != IGNORE_INDEX]
    per_row = max(width // _LEGEND_COLUMN, 1)
    rows = -(-len(shown) // per_row)
    legend = np.full((rows * _LINE + _GAP, width, 3), _PAPER, np.uint8)
    for number, train_id in enumerate(shown):
        x, y = number % per_row * _LEGEND_COLUMN + 2, number // per_row * _LINE + _GAP
        legend[y : y + 14, x : x + 22] = palette[train_id]
        cv2.putText(legend, classes[train_id], (x + 28, y + 12), 0, 0.45, _INK, 1, cv2.LINE_AA)
    return legend
