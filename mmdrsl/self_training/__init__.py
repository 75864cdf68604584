"""Offline self-training: label policies and the artefact store. Pure computation, no Runner inside."""

from .artefact import PseudoLabelArtefact, RoundManifest
from .class_balanced_policy import ConfidenceHistogram, select_labels
from .labeller import PseudoLabeller, model_hash

__all__ = [
    "ConfidenceHistogram",
    "PseudoLabelArtefact",
    "PseudoLabeller",
    "RoundManifest",
    "model_hash",
    "select_labels",
]
