"""The mean of what a network says of an image at several sizes, and of its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def average_over_views(
    predict: Callable[[Tensor], Tensor], images: Tensor, *, flip: bool, scales: Sequence[float]
) -> Tensor:
    """Predict images at several scales, and mirrored, and take the mean.

    Args:
        predict: Takes images (B, 3, h, w) of any size and returns a prediction of one size, (B, C, H', W').
        images: Normalized images, shape (B, 3, H, W).
        flip: Whether each scale is predicted mirrored, too.
        scales: Factors on height and width.

    Returns:
        Shape (B, C, H', W').

    Raises:
        ValueError: There is no scale, or one is not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"Views need one positive scale or more, found {list(scales)}.")
    total = torch.zeros(())
    for scale in scales:
        view = images
        if scale != 1.0:
            view = F.interpolate(images, scale_factor=scale, mode="bilinear")
        prediction = predict(view)
        if flip:
            prediction = prediction + predict(view.flip(3)).flip(3)
        total = total + prediction
    return total / ((2 if flip else 1) * len(scales))
