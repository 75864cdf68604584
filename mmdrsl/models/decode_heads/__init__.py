"""Decode heads that MMSegmentation lacks."""

from .deeplabv2_head import DeepLabV2Head
from .drsl_head import DRSLHead
from .mmdl_head import MMDLHead
from .segnet_head import SegNetHead

__all__ = ["DRSLHead", "DeepLabV2Head", "MMDLHead", "SegNetHead"]
