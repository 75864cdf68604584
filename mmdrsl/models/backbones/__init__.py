"""Backbones that MMSegmentation lacks, and the conversion of ImageNet weights."""

from .segnet_encoder import SegNetEncoder
from .weight_conversion import check_backbone_file, convert_state_dict

__all__ = ["SegNetEncoder", "check_backbone_file", "convert_state_dict"]
