"""Encoder of SegNet: the convolutions of VGG16-BN, with pooling indices kept for the decoder."""

from collections.abc import Sequence
from itertools import pairwise

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torch.nn.modules.batchnorm import _BatchNorm

VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Output channels and number of convolutions of every stage of VGG16 (configuration D)."""


def conv_stack(channels: Sequence[int], *, norm_cfg: ConfigType | None) -> nn.Sequential:
    """Chain 3x3 convolutions, each followed by a norm layer and a ReLU.

    Args:
        channels: Input channels of the first convolution, then the output channels of each.
        norm_cfg: MMCV config of the norm layers, or None for convolutions with a bias.

    Returns:
        The ``len(channels) - 1`` ``ConvModule`` layers; height and width stay as they are.
    """
    return nn.Sequential(
        *(
            ConvModule(inputs, outputs, 3, padding=1, norm_cfg=norm_cfg)
            for inputs, outputs in pairwise(channels)
        )
    )


@MODELS.register_module()
class SegNetEncoder(BaseModule):
    """The 13 convolutions of VGG16-BN in five stages, each ended by a 2x2 max pooling.

    Implements the encoder of Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional
    Encoder-Decoder Architecture for Image Segmentation", TPAMI 2017
    (https://arxiv.org/abs/1511.00561).

    The convolutions carry no bias when a norm layer follows, which would cancel it; the
    conversion of VGG16-BN weights folds the biases into the running means.

    Args:
        width: Multiplier of all channel counts, above 0; 1.0 is VGG16.
        norm_cfg: MMCV config of the norm layers, or None for convolutions with a bias.
        norm_eval: Keep batch norm layers in evaluation mode during training, so that their
            running statistics stay fixed.
        init_cfg: MMEngine initialization config, for example
            ``dict(type='Pretrained', checkpoint=FILE)``; None keeps MMCV's Kaiming
            initialization of every convolution.

    Raises:
        ValueError: If ``width`` is not above 0.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        norm_cfg: ConfigType | None = {"type": "BN"},  # noqa: B006 - MMCV's convention, only read
        norm_eval: bool = False,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        if width <= 0:
            raise ValueError(f"width is {width}, expected a number above 0; 1.0 is VGG16")
        self.norm_eval = norm_eval
        self.stage_channels = tuple(max(1, round(base * width)) for base, _ in VGG16_STAGES)
        previous = (3, *self.stage_channels[:-1])
        self.stages = nn.ModuleList(
            conv_stack((inputs, *[outputs] * num_convs), norm_cfg=norm_cfg)
            for inputs, outputs, (_, num_convs) in zip(
                previous, self.stage_channels, VGG16_STAGES, strict=True
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of all stages and what the decoder needs to unpool them.

        Every returned tensor has the batch in dimension 0, so ``tuple(t[:n] for t in outs)`` is
        the output for the first ``n`` images.

        Args:
            images: Images, ``(N, 3, H, W)`` with H and W of at least 32 pixels, even or odd.

        Returns:
            Eleven tensors. ``outs[0:5]`` are the pooled features of stages 1 to 5,
            ``(N, C_k, H_k, W_k)`` with ``H_k = H // 2**k``. ``outs[5:10]`` are the pooling
            indices of the same stages, int64 of the same shapes, each the flat position of the
            maximum in its plane before pooling. ``outs[10]``, ``(N, 0, H, W)``, is empty and
            carries the image size, which pooling odd sizes would lose.

        Raises:
            ValueError: If the images are too small for five poolings.
        """
        smallest = 2 ** len(self.stages)
        if min(images.shape[-2:]) < smallest:
            raise ValueError(
                f"SegNetEncoder got images of {tuple(images.shape[-2:])} pixels (height, width), "
                f"expected at least {smallest} in both; use larger images or crops"
            )
        features, indices = [], []
        current = images
        for stage in self.stages:
            current, index = max_pool2d(stage(current), 2, 2, return_indices=True)
            features.append(current)
            indices.append(index)
        return (*features, *indices, images[:, :0])

    def train(self, mode: bool = True) -> "SegNetEncoder":
        """Set the mode, keeping batch norm layers in evaluation mode under ``norm_eval``.

        Args:
            mode: True for training, False for evaluation.

        Returns:
            The encoder itself.
        """
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
