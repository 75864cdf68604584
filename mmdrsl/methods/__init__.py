"""The methods: a file each, or a folder where it takes several. A method is a list of these terms in a config."""

from .adaptation_term import AdaptationTerm
from .adaptsegnet import AdversarialTerm
from .advent import EntropyAdversarialTerm
from .crst import ModelRegularizationTerm
from .cycada_features import FeatureAdaptationTerm
from .dacs import ClassMixTerm
from .daformer import FeatureDistanceTerm
from .drsl import (
    DRSLHead,
    MMDLHead,
    ModeAlignmentTerm,
    ModeMetricTerm,
)
from .mic import MaskedConsistencyTerm
from .minent import EntropyTerm
from .seg_uncertainty import RectifiedCrossEntropyTerm
from .self_training import SegmentationTerm

__all__ = [
    "AdaptationTerm",
    "AdversarialTerm",
    "ClassMixTerm",
    "DRSLHead",
    "EntropyAdversarialTerm",
    "EntropyTerm",
    "FeatureAdaptationTerm",
    "FeatureDistanceTerm",
    "MMDLHead",
    "MaskedConsistencyTerm",
    "ModeAlignmentTerm",
    "ModeMetricTerm",
    "ModelRegularizationTerm",
    "RectifiedCrossEntropyTerm",
    "SegmentationTerm",
]
