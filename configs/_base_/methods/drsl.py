"""DRSL (Iqbal et al. 2022) on top of MRKLD: mode learning on both domains, stochastic mode alignment between them.

The modes learn beside the warm-up, which stays that of source-only training, on what the decode head's classifier reads.
Pseudo labels come from both heads. Monitors of the modes go into the log by themselves.
"""

_base_ = "mrkld.py"
title = "DRSL"
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
        # As the cross entropy on pseudo labels: a plain mean over their pixels.
        metric_target=dict(
            type="ModeMetricTerm",
            domain="target",
            weight=0.1,
            loss=dict(
                type="ModeMetricLoss", margin=0.5, posterior_weight=0.5, class_balanced=False
            ),
        ),
        alignment=dict(type="ModeAlignmentTerm", weight=0.05, ramp_iterations=100),
    ),
)
method_hooks = dict(
    modes=dict(type="ModeMaintenanceHook", kmeans_iteration=500, interval=500),
    self_training=dict(labeler=dict(policy=dict(second_head="mmdl", second_weight=0.5))),
)
custom_hooks = [dict(type="ModeMonitorHook", interval=50)]
