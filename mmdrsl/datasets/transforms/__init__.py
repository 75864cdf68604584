"""Pipeline transforms."""

from .loading import LoadImage, LoadLabels, LoadPseudoLabels

__all__ = ["LoadImage", "LoadLabels", "LoadPseudoLabels"]
