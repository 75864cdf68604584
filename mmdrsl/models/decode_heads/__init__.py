"""Decode heads that MMSegmentation lacks."""

from .drsl_head import DRSLHead
from .mmdl_head import MMDLHead
from .segnet_head import SegNetHead

__all__ = ["DRSLHead", "MMDLHead", "SegNetHead"]
