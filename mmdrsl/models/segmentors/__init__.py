"""The adaptor around MMSegmentation's segmentors."""

from .hrda_segmentor import HRDASegmentor
from .uda_segmentor import UDASegmentor

__all__ = ["HRDASegmentor", "UDASegmentor"]
