"""DRSL at every step, beside MIC: mode learning and stochastic mode alignment on ClassMix's images.

Teacher, ClassMix and masks are MIC's. Pixels of mixed images have the source's label, or the teacher's class where it is
confident; target pixels among them are aligned with the source. The modes learn beside the warm-up, which stays that of
source-only training.
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
        metric_mixed=dict(
            type="ModeMetricTerm",
            domain="mixed",
            weight=1.0,
            loss=dict(
                type="ModeMetricLoss", margin=0.5, posterior_weight=0.5, class_balanced=False
            ),
        ),
        alignment=dict(type="ModeAlignmentTerm", weight=0.5, ramp_iterations=100, target="mixed"),
    ),
)
method_hooks = dict(
    modes=dict(type="ModeMaintenanceHook", kmeans_iteration=500, interval=500),
)
