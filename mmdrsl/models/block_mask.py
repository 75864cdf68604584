"""Random block masks of images (MIC, Hoyer et al. 2023). Pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def block_mask(images: Tensor, *, block_size: int, ratio: float) -> Tensor:
    """Draw which blocks of every image stay visible (MIC, equation 5).

    Args:
        images: Shape (B, C, H, W).
        block_size: Side of the blocks in pixels, >= 1; at the border they may be cut or stretched.
        ratio: Probability of a block to be hidden, in [0, 1].

    Returns:
        1 where visible and 0 where hidden, shape (B, 1, H, W), in the type of the images. Drawn from PyTorch's
        generator.
    """
    batch, _, height, width = images.shape
    grid = [max(1, round(side / block_size)) for side in (height, width)]
    # Drawn on the CPU: the same on every device.
    visible = (torch.rand(batch, 1, *grid) > ratio).to(images)
    return F.interpolate(visible, size=(height, width), mode="nearest")
