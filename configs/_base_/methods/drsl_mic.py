"""DRSL beside MIC: modes learn on the source, and weigh its pixels by how frequent their mode is in the target.

Teacher, ClassMix and masks are MIC's. The modes learn beside the warm-up, which stays that of source-only training.
"""

_base_ = "mic.py"
title = "DRSL + MIC"
method = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_index="decoder")),
    heads_shape_warmup=False,
    terms=dict(
        metric=dict(
            type="ModeMetricTerm",
            domain="source",
            weight=0.1,
            loss=dict(type="ModeMetricLoss", margin=0.5, posterior_weight=0.5),
        ),
        mode_weights=dict(type="ModeWeightTerm"),
    ),
)
method_hooks = dict(
    modes=dict(type="ModeMaintenanceHook", kmeans_iteration=500, interval=500),
)
