"""Strong photometric noise on target images, beside MMSegmentation's PhotoMetricDistortion and RandomCutOut."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomGaussianBlur(BaseTransform):
    """Blur the image with a Gaussian of random width; labels stay.

    Required and modified key: `img` (uint8, shape (H, W, 3)).

    Args:
        prob: Probability, in [0, 1].
        sigma: Range of the standard deviation in pixels, 0 < low <= high.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(self, *, prob: float = 0.5, sigma: tuple[float, float] = (0.15, 1.15)) -> None:
        if not 0 <= prob <= 1 or not 0 < sigma[0] <= sigma[1]:
            raise ValueError(
                f"prob must be in [0, 1] and sigma a range above 0, found {prob} and {sigma}."
            )
        self.prob = prob
        self.sigma = sigma

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Blur, or leave the image alone.

        Args:
            results: Pipeline dictionary with `img`.

        Returns:
            The dictionary.
        """
        if np.random.rand() < self.prob:
            width = float(np.random.uniform(self.sigma[0], self.sigma[1]))
            results["img"] = cv2.GaussianBlur(results["img"], (0, 0), width)
        return results


@TRANSFORMS.register_module()
class RandomGaussianNoise(BaseTransform):
    """Add independent Gaussian noise to every value of the image; labels stay.

    Required and modified key: `img` (uint8, shape (H, W, 3)).

    Args:
        prob: Probability, in [0, 1].
        std: Range of the standard deviation in gray levels, 0 <= low <= high.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(self, *, prob: float = 0.5, std: tuple[float, float] = (2.0, 12.0)) -> None:
        if not 0 <= prob <= 1 or not 0 <= std[0] <= std[1]:
            raise ValueError(
                f"prob must be in [0, 1] and std a range from 0 on, found {prob} and {std}."
            )
        self.prob = prob
        self.std = std

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add noise, or leave the image alone.

        Args:
            results: Pipeline dictionary with `img`.

        Returns:
            The dictionary.
        """
        if np.random.rand() < self.prob:
            image = results["img"]
            noise = np.random.normal(0, np.random.uniform(self.std[0], self.std[1]), image.shape)
            results["img"] = np.clip(np.round(image + noise), 0, 255).astype(image.dtype)
        return results
