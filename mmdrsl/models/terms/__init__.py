"""Terms of the adaptation objective; a method is a list of them in a config."""

from .adaptation_term import AdaptationProgress, AdaptationStep, AdaptationTerm, DomainBatch
from .adversarial_term import AdversarialTerm
from .class_mix_term import ClassMixTerm
from .entropy_term import EntropyTerm
from .feature_adaptation_term import FeatureAdaptationTerm
from .mode_alignment_term import ModeAlignmentTerm
from .mode_metric_term import ModeMetricTerm
from .model_regularisation_term import ModelRegularisationTerm
from .segmentation_term import SegmentationTerm
from .variance_rectification_term import VarianceRectificationTerm

__all__ = [
    "AdaptationProgress",
    "AdaptationStep",
    "AdaptationTerm",
    "AdversarialTerm",
    "ClassMixTerm",
    "DomainBatch",
    "EntropyTerm",
    "FeatureAdaptationTerm",
    "ModeAlignmentTerm",
    "ModeMetricTerm",
    "ModelRegularisationTerm",
    "SegmentationTerm",
    "VarianceRectificationTerm",
]
