"""MinEnt (Vu et al. 2019): cross entropy on the source, entropy of two classifiers on the target."""

_base_ = "auxiliary_classifier.py"
title = "MinEnt"
method = dict(
    # No label holds the target: in the statistics of the batch it would move what the source taught.
    bn_mode="frozen",
    terms=dict(
        entropy=dict(type="EntropyTerm", weight=1e-3),
        entropy_auxiliary=dict(type="EntropyTerm", head="auxiliary", weight=2e-4),
    ),
)
# Rounds set the share of target images and make no labels.
method_hooks = dict(self_training=dict(online=True))
