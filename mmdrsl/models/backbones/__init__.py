"""Backbones that MMSegmentation lacks, and the conversion of ImageNet weights."""

from .plain_vit import PlainViT
from .segnet_encoder import SegNetEncoder
from .weight_conversion import check_backbone_file, convert_state_dict

__all__ = ["PlainViT", "SegNetEncoder", "check_backbone_file", "convert_state_dict"]
