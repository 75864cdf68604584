"""Seg-Uncertainty (Zheng and Yang 2021): pseudo labels learned the less, the more two classifiers disagree.

The labels are those of the self-training twin: this replaces what it learns from them. The publication trains its second
stage on the target alone; here source images stay in the batch, as in every method of this comparison.
"""

_base_ = "auxiliary_head.py"
seg_uncertainty_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    source_auxiliary=dict(type="SegmentationTerm", domain="source", head="auxiliary", weight=0.5),
    target=dict(type="VarianceRectificationTerm", head="auxiliary", auxiliary_weight=0.5),
)
