"""A generator that begins as the identity; importing this module needs MMagic."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from mmdrsl.translation.mmagic_loader import load_mmagic
from mmdrsl.translation.resize_convolution import ResizeConv2d

load_mmagic()

from mmagic.models.editors.cyclegan.cyclegan_generator import ResnetGenerator  # noqa: E402
from mmagic.registry import MODELS  # noqa: E402

BORDER: Literal["reflect"] = "reflect"


@MODELS.register_module()
class ShortcutGenerator(ResnetGenerator):
    """MMagic's ``ResnetGenerator``, whose output is added to the image (this project's own).

    For short trainings: a generator that has to rebuild the image needs tens of thousands of steps to be sharp, and
    what it cannot rebuild it invents. This one learns the difference alone. It starts at zero, so that the first
    translation is the image itself, and lies in [-1, 1], so that a translation may leave [-1, 1]; the discriminators
    see that, and the export cuts it off. It enlarges by `ResizeConv2d` where MMagic has transposed convolutions, and
    every convolution sees the image reflected beyond its border: zeros there draw a band along it. Arguments are those
    of ``ResnetGenerator``.

    Raises:
        ValueError: ``padding_mode`` is another than ``reflect``.
    """

    adds_image = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("padding_mode", BORDER) != BORDER:
            raise ValueError(
                "ShortcutGenerator reflects the image beyond its border, found "
                f"padding_mode={kwargs['padding_mode']!r}: leave it out."
            )
        super().__init__(*args, **kwargs)
        for layer in self.model:
            convolution = getattr(layer, "conv", None)
            if isinstance(convolution, nn.ConvTranspose2d):
                layer.conv = ResizeConv2d(
                    convolution.in_channels,
                    convolution.out_channels,
                    kernel_size=3,
                    padding=1,
                    padding_mode=BORDER,
                    bias=convolution.bias is not None,
                )
            elif isinstance(convolution, nn.Conv2d):
                convolution.padding_mode = BORDER

    def init_weights(self) -> None:
        """Initialize as the parent does, and the last convolution with zeros."""
        super().init_weights()
        last: Any = self.model[-1]
        nn.init.zeros_(last.conv.weight)
        nn.init.zeros_(last.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Translate.

        Args:
            x: Images, red, green, blue in [-1, 1], (B, 3, H, W).

        Returns:
            Same shape, in [-2, 2].
        """
        return x + super().forward(x)
