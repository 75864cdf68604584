"""A convolution that enlarges without the checkerboard of a transposed one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResizeConv2d(nn.Conv2d):
    """Doubles the size by the nearest neighbor and convolves (Odena et al., Distill 2016).

    A transposed convolution of kernel 3 and stride 2 reaches some output pixels with more of its weights than others,
    which shows on even surfaces, such as skies, until a long training has balanced them. Arguments are those of
    ``torch.nn.Conv2d``.
    """

    scale_factor = 2

    def forward(self, input: Tensor) -> Tensor:
        """Enlarge and convolve.

        Args:
            input: Shape (B, in_channels, H, W).

        Returns:
            With a kernel of 3 and a padding of 1: shape (B, out_channels, 2H, 2W).
        """
        return super().forward(F.interpolate(input, scale_factor=self.scale_factor, mode="nearest"))
