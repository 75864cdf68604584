"""Pipeline transforms."""

from .loading import LoadImage, LoadLabels, LoadPseudoLabels
from .pseudo_label_weights import LoadPseudoLabelWeights, PackWeightedSegInputs

__all__ = [
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabelWeights",
    "LoadPseudoLabels",
    "PackWeightedSegInputs",
]
