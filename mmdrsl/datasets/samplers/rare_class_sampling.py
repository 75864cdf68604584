"""Which class to look for next, and in which image: rare classes more often than frequent ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# How often the transforms of an image are drawn at most; DAFormer's constant.
CROP_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class RareClassSampling:
    """How rare classes are preferred; names and defaults are those of DAFormer.

    Attributes:
        class_temp: Temperature of the distribution over the classes, > 0; small values prefer rare classes.
        min_pixels: Pixels that make an image worth drawing for a class.
        min_crop_ratio: Share of ``min_pixels`` that must be left after the transforms, or they are drawn again.
    """

    class_temp: float = 0.01
    min_pixels: int = 3000
    min_crop_ratio: float = 0.5


class RareClassDraw:
    """Draws a class, then an image that shows it (Hoyer et al., "DAFormer", CVPR 2022, section 3.2, Eq. 8).

    A class of frequency f among the labeled pixels has the probability softmax((1 - f) / class_temp) over the classes
    that occur. Its image is drawn evenly among those with at least ``min_pixels`` of it, or, where there is none, among
    all that show it.

    Args:
        counts: Pixels per image and class, shape (N, C).
        class_temp: As for `RareClassSampling`.
        min_pixels: As for `RareClassSampling`.

    Raises:
        ValueError: `class_temp` is not above 0, or no image shows a class.
    """

    def __init__(
        self, counts: npt.NDArray[np.int64], *, class_temp: float, min_pixels: int
    ) -> None:
        if class_temp <= 0:
            raise ValueError(f"class_temp of the rare classes must be above 0, found {class_temp}.")
        totals = counts.sum(0)
        if not totals.any():
            raise ValueError("rare classes need labels, but no image has a labeled pixel.")
        self.classes = np.flatnonzero(totals)
        logits = (1 - totals[self.classes] / totals.sum()) / class_temp
        weights = np.exp(logits - logits.max())
        self.probabilities = weights / weights.sum()
        self._images = []
        for class_id in self.classes:
            large = np.flatnonzero(counts[:, class_id] >= min_pixels)
            self._images.append(large if large.size else np.flatnonzero(counts[:, class_id]))

    def draw(self, generator: np.random.Generator) -> tuple[int, int]:
        """Draw a class and an image.

        Args:
            generator: Source of randomness; equal generators draw the same.

        Returns:
            Class id and image index.
        """
        position = int(generator.choice(len(self.classes), p=self.probabilities))
        return int(self.classes[position]), int(generator.choice(self._images[position]))
