"""Color jitter and blur of normalized images, as DACS and its successors disturb what the student sees."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def strong_augmentation(
    images: Tensor,
    *,
    mean: Tensor | None,
    std: Tensor | None,
    jitter: float = 0.2,
    jitter_probability: float = 0.8,
    blur_probability: float = 0.5,
) -> Tensor:
    """Jitter the colors of a batch and blur it, each with a probability for the whole batch.

    The released codes of DACS, DAFormer and MIC draw whether to do so once for a batch, and how strongly for each
    image: brightness, contrast, saturation and hue within `jitter`, a Gaussian of standard deviation 0.15 to 1.15
    pixels. Draws from PyTorch's generator.

    Args:
        images: Normalized images, shape (B, 3, H, W).
        mean: Mean of the normalization in [0, 255], shape (3, 1, 1).
        std: Standard deviation of the normalization, shape (3, 1, 1).
        jitter: Strength of the jitter, in [0, 0.5].
        jitter_probability: Probability of the jitter.
        blur_probability: Probability of the blur.

    Returns:
        Shape (B, 3, H, W).

    Raises:
        ValueError: The normalization is unknown.
    """
    # torchvision brings torch's compiler along, which takes longer to import than this package.
    from torchvision.transforms import ColorJitter
    from torchvision.transforms.functional import gaussian_blur

    if mean is None or std is None:
        raise ValueError(
            "Colors are disturbed in [0, 255], but the data preprocessor has no mean and std: set them, or jitter=0 in "
            "the term."
        )
    if jitter > 0 and torch.rand(()) < jitter_probability:
        transform = ColorJitter(jitter, jitter, jitter, jitter)
        colors = ((images * std + mean) / 255).clamp(0, 1)
        images = (torch.stack([transform(image) for image in colors]) * 255 - mean) / std
    if torch.rand(()) < blur_probability:
        height, width = (max(1, math.ceil(0.1 * side) // 2 * 2 + 1) for side in images.shape[2:])
        blurred = []
        for image in images:
            sigma = 0.15 + float(torch.rand(()))
            # Along one axis after the other: the same filter by a fraction of the products.
            rows = gaussian_blur(image, [width, 1], sigma)
            blurred.append(gaussian_blur(rows, [1, height], sigma))
        images = torch.stack(blurred)
    return images
