"""DRSL on top of self-training: mode learning on both domains, stochastic mode alignment between them.

A final config takes it up as
    model = dict(terms={{_base_.drsl_terms}}, heads=dict(mmdl=dict(type="MMDLHead", in_channels=..., ...)))
    default_hooks = dict(modes={{_base_.drsl_hook}})
"""

drsl_terms = dict(
    metric=dict(
        type="ModeMetricTerm",
        weight=0.1,
        domains=("source", "target"),
        loss=dict(
            type="ModeMetricLoss",
            margin=0.5,
            posterior_weight=0.5,
            class_distance="min",
            max_pixels_per_class=256,
            usage_weight=0.01,
            spread_weight=0.01,
        ),
    ),
    alignment=dict(
        type="ModeAlignmentTerm",
        weight=0.05,
        ramp_iterations=100,
        loss=dict(type="StochasticModeAlignmentLoss", distance="pair", stochastic=True),
    ),
)
drsl_hook = dict(type="ModeMaintenanceHook", kmeans_iteration=500, interval=500)
