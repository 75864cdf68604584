"""Decode heads that MMSegmentation lacks."""

from .deeplabv2_head import DeepLabV2Head
from .segnet_head import SegNetHead

__all__ = ["DeepLabV2Head", "SegNetHead"]
