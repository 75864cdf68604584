"""Pseudo labels of a round: prediction from several views, selection, the stored artifact. No Runner inside."""

from .artifact import PseudoLabelArtifact, RoundManifest
from .class_balanced_policy import ClassBalancedPolicy
from .label_policy import LabelPolicy
from .labeler import PseudoLabeler, model_hash
from .views import Views

__all__ = [
    "ClassBalancedPolicy",
    "LabelPolicy",
    "PseudoLabelArtifact",
    "PseudoLabeler",
    "RoundManifest",
    "Views",
    "model_hash",
]
