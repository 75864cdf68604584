"""Colors of methods, classes, modes and confidences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import cv2
import numpy as np

from mmdrsl.datasets.label_spaces import IGNORE_INDEX

IGNORED_COLOR = (24, 26, 32)
_SHADE_STRENGTH = 0.5

Palette = Sequence[Sequence[int]]

_METHOD_COLORS = {
    "source_only": "#8b95a7",
    "target_unused": "#0d9488",
    "target_statistics": "#0891b2",
    "oracle": "#171a21",
    "self_training": "#3b82f6",
    "drsl": "#f97316",
}
_FURTHER_COLORS = ("#a855f7", "#16a34a", "#e11d48", "#b45309", "#be185d")


def method_colors(methods: Iterable[str]) -> dict[str, str]:
    """Colors of methods in charts: fixed for DRSL and the references, in turn for others.

    Args:
        methods: Ids of the methods.

    Returns:
        Color by id.
    """
    further = cycle(_FURTHER_COLORS)
    return {name: _METHOD_COLORS.get(name) or next(further) for name in methods}


def color_labels(labels: np.ndarray, palette: Palette) -> np.ndarray:
    """Draw a label map in the colors of its classes, ignored pixels dark.

    Args:
        labels: Train ids, shape (H, W); `IGNORE_INDEX` is ignored.
        palette: One RGB color (0..255) per class.

    Returns:
        RGB, shape (H, W, 3), uint8.

    Raises:
        ValueError: A label is neither a class of the palette nor ignored.
    """
    table = np.full((256, 3), IGNORED_COLOR, dtype=np.uint8)
    table[: len(palette)] = palette
    unknown = (labels >= len(palette)) & (labels != IGNORE_INDEX)
    if unknown.any():
        raise ValueError(
            f"The label map holds {int(labels[unknown][0])}, expected 0..{len(palette) - 1} or "
            f"{IGNORE_INDEX}: take the palette of the label space that made it."
        )
    return table[labels]


def mode_shades(palette: Palette, num_modes: int) -> np.ndarray:
    """Shades of every class color, one per mode, from light to dark.

    Args:
        palette: One RGB color (0..255) per class.
        num_modes: K, modes per class, >= 1.

    Returns:
        RGB, shape (C, K, 3), uint8; a single mode has the class color itself.

    Raises:
        ValueError: There is no mode.
    """
    if num_modes < 1:
        raise ValueError(f"num_modes is {num_modes}, expected 1 or more.")
    colors = np.asarray(palette, dtype=np.float32)[:, None]
    strength = _SHADE_STRENGTH if num_modes > 1 else 0.0
    steps = np.linspace(strength, -strength, num_modes)
    amount = np.abs(steps)[None, :, None]
    toward = np.where(steps > 0, 255.0, 0.0)[None, :, None]
    return np.round((1 - amount) * colors + amount * toward).astype(np.uint8)


def color_modes(
    classes: np.ndarray, modes: np.ndarray, palette: Palette, num_modes: int
) -> np.ndarray:
    """Draw which mode of its class each pixel maps to.

    Args:
        classes: Class of each pixel in [0, C), shape (H, W).
        modes: Mode of each pixel in [0, K), shape (H, W).
        palette: One RGB color (0..255) per class.
        num_modes: K, modes per class.

    Returns:
        RGB, shape (H, W, 3), uint8.
    """
    return mode_shades(palette, num_modes)[classes, modes]


def color_confidence(confidence: np.ndarray) -> np.ndarray:
    """Draw confidences from dark violet (0) to yellow (255).

    Args:
        confidence: Shape (H, W), uint8.

    Returns:
        RGB, shape (H, W, 3), uint8.
    """
    colored = cv2.applyColorMap(confidence, cv2.COLORMAP_VIRIDIS)
    return np.asarray(cv2.cvtColor(colored, cv2.COLOR_BGR2RGB))
