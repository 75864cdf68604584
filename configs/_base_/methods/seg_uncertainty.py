"""Seg-Uncertainty (Zheng and Yang 2021): pseudo labels learned the less, the more two classifiers disagree.

The labels are those of self-training. The publication trains its second stage on the target alone; here source images
stay in the batch, as in every method of this comparison.
"""

_base_ = "auxiliary_classifier.py"
title = "Seg-Uncertainty"
method = dict(
    terms=dict(
        source_auxiliary=dict(weight=0.5),
        target=dict(type="RectifiedCrossEntropyTerm", head="auxiliary", auxiliary_weight=0.5),
    ),
)
