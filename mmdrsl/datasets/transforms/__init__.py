"""Pipeline transforms."""

from .confidence import LoadPseudoLabelConfidence, PackTargetInputs
from .loading import LoadImage, LoadLabels, LoadPseudoLabels
from .target_noise import RandomGaussianBlur, RandomGaussianNoise

__all__ = [
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabelConfidence",
    "LoadPseudoLabels",
    "PackTargetInputs",
    "RandomGaussianBlur",
    "RandomGaussianNoise",
]
