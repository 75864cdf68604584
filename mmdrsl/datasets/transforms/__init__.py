"""Pipeline transforms."""

from .loading import LoadImage, LoadLabels, LoadPseudoLabels
from .target_noise import RandomGaussianBlur, RandomGaussianNoise

__all__ = [
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabels",
    "RandomGaussianBlur",
    "RandomGaussianNoise",
]
