"""The adaptor around MMSegmentation's segmentors."""

from .uda_segmentor import UDASegmentor

__all__ = ["UDASegmentor"]
