"""DAFormer (Hoyer et al. 2022): DACS's self-training with a slower teacher, and the feature distance of things.

Its network is one of _base_/models/daformer_*.py, its rare class sampling belongs to the pair. A teacher of rate
min(1 - 1 / (t + 1), 0.999) is for 40,000 steps; configs of short schedules have DACS's 0.99.
"""

_base_ = "dacs.py"
title = "DAFormer"
method = dict(
    terms=dict(
        mix=dict(classes_from="batch"),
        distance=dict(type="FeatureDistanceTerm", weight=0.005),
    )
)
method_hooks = dict(teacher=dict(average=dict(momentum=0.001)))
