"""ClassMix (Olsson et al. 2021): half of the classes of one image pasted onto another. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


def choose_classes(
    labels: Tensor, generator: torch.Generator | None = None, ignore_index: int = 255
) -> Tensor:
    """Draw half of the classes of a label map, rounded up, and mark their pixels.

    Args:
        labels: Shape (H, W).
        generator: Source of randomness, on the CPU; torch's default where None.
        ignore_index: Label that is no class.

    Returns:
        Boolean mask, shape (H, W); all False where nothing is labeled.
    """
    classes = labels.unique()
    classes = classes[classes != ignore_index]
    order = torch.randperm(len(classes), generator=generator).to(labels.device)
    return torch.isin(labels, classes[order[: (len(classes) + 1) // 2]])


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Pixels of the source inside a mask, of the target outside.

    Args:
        mask: Boolean, shape (B, H, W).
        source: Shape (B, H, W) or (B, C, H, W).
        target: Same shape.

    Returns:
        Same shape.
    """
    return torch.where(mask if source.ndim == 3 else mask[:, None], source, target)


def color_jitter(
    images: Tensor, strength: float, generator: torch.Generator | None = None
) -> Tensor:
    """Change contrast and brightness of every channel of every image on its own.

    Args:
        images: Normalized images (zero mean, unit deviation over a data set), shape (B, C, H, W).
        strength: Contrast factors lie in [1 - strength, 1 + strength], shifts in [-strength, strength]; in [0, 1).
        generator: Source of randomness, on the CPU; torch's default where None.

    Returns:
        Same shape.
    """
    noise = torch.rand(2, *images.shape[:2], 1, 1, generator=generator).to(images) * 2 - 1
    return images * (1 + strength * noise[0]) + strength * noise[1]
