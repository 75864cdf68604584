"""The fully convolutional domain discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DomainDiscriminator(nn.Module):
    """Scores every place of a map: source or target (AdaptSegNet, Tsai et al. 2018, section 4.1; after DCGAN).

    ``conv - LeakyReLU`` for each of the hidden widths, then a ``conv`` to one channel. The defaults are those of
    AdaptSegNet and ADVENT: 4 x 4, stride 2, widths 64, 128, 256, 512. No normalization, since its batches hold one
    domain each. It has no say in prediction: neither the teacher nor an exported checkpoint contains it.

    Args:
        in_channels: Channels of the map that it judges; `UDASegmentor` fills in the number of classes where it is left
            out.
        hidden_channels: Width of every hidden layer; fewer and narrower for tests and for small feature maps.
        kernel_size: Size of all kernels, >= 1.
        stride: Stride of all convolutions, >= 1.
        negative_slope: Slope of the LeakyReLU below 0.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 128, 256, 512),
        kernel_size: int = 4,
        stride: int = 2,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        widths = [in_channels, *hidden_channels, 1]
        if min(*widths, kernel_size, stride) < 1:
            raise ValueError(
                "in_channels, hidden_channels, kernel_size and stride must be >= 1, found "
                f"{in_channels}, {list(hidden_channels)}, {kernel_size} and {stride}."
            )
        self.in_channels = in_channels
        padding = (kernel_size - 1) // 2
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size, stride, padding),
                nn.LeakyReLU(negative_slope),
            ]
        self.layers = nn.Sequential(*layers[:-1])
        # The smallest side that leaves one output: backwards through all convolutions.
        self.smallest_side = 1
        for _ in widths[1:]:
            self.smallest_side = max(
                1, (self.smallest_side - 1) * stride + kernel_size - 2 * padding
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Scores; the larger, the more it looks like the source.

        Args:
            maps: Shape (B, in_channels, H, W).

        Returns:
            Logits, shape (B, 1, h, w); H / 32 and W / 32 by default.

        Raises:
            ValueError: The map has other channels, or is too small.
        """
        if maps.shape[1] != self.in_channels or min(maps.shape[2:]) < self.smallest_side:
            raise ValueError(
                f"The discriminator takes {self.in_channels} channels of at least {self.smallest_side} x "
                f"{self.smallest_side}, found a map of shape {tuple(maps.shape)}. Set in_channels to the map's, and "
                "shorten hidden_channels or lower stride for small maps."
            )
        return self.layers(maps)
