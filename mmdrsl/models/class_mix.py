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


def choose_classes_of_batch(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw half of the classes that a batch shows, rounded up, for every image of it (DAFormer's variant).

    The label 255 counts as a class, as in the released code.

    Args:
        labels: Shape (B, H, W).
        generator: Source of randomness, on the CPU; torch's default where None.

    Returns:
        Boolean mask, shape (B, H, W).
    """
    classes = labels.unique()
    half = (len(classes) + 1) // 2
    masks = []
    for image in labels:
        order = torch.randperm(len(classes), generator=generator).to(labels.device)
        masks.append(torch.isin(image, classes[order[:half]]))
    return torch.stack(masks)


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
