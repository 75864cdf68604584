"""Decode heads that MMSegmentation lacks."""

from .daformer_head import DAFormerHead
from .deeplabv2_head import DeepLabV2Head
from .hrda_head import HRDAHead
from .segnet_head import SegNetHead
from .upsampling_head import UpsamplingHead

__all__ = ["DAFormerHead", "DeepLabV2Head", "HRDAHead", "SegNetHead", "UpsamplingHead"]
