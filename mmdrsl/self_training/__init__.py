"""Offline self-training: label policies and the artefact store. Pure computation, no Runner inside."""

from .artefact import PseudoLabelArtefact, RoundManifest
from .class_balanced_policy import ClassBalancedPolicy
from .crop_consistency_policy import CropConsistencyPolicy
from .entropy_policy import EntropyPolicy
from .fixed_confidence_policy import FixedConfidencePolicy
from .label_policy import LabelPolicy, Prediction, build_policy
from .labeller import PseudoLabeller, model_hash
from .score_histogram import ScoreHistogram
from .two_head_policy import TwoHeadPolicy
from .views import Views

__all__ = [
    "ClassBalancedPolicy",
    "CropConsistencyPolicy",
    "EntropyPolicy",
    "FixedConfidencePolicy",
    "LabelPolicy",
    "Prediction",
    "PseudoLabelArtefact",
    "PseudoLabeller",
    "RoundManifest",
    "ScoreHistogram",
    "TwoHeadPolicy",
    "Views",
    "build_policy",
    "model_hash",
]
