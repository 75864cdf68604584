"""DRSL on top of self-training: mode learning on both domains, stochastic mode alignment between them.

A final config takes it up as ``model = dict(terms={{_base_.drsl_terms}})`` beside an `MMDLHead` in ``model.heads`` and
``default_hooks = dict(modes={{_base_.drsl_hook}})``. Monitors of the modes go into the log by themselves.
"""

drsl_terms = dict(
    metric=dict(
        type="ModeMetricTerm",
        weight=0.1,
        domains=("source",),
        loss=dict(type="ModeMetricLoss", margin=0.5, posterior_weight=0.5),
    ),
    # As the cross entropy on pseudo labels: a plain mean over their pixels.
    metric_target=dict(
        type="ModeMetricTerm",
        weight=0.1,
        domains=("target",),
        loss=dict(type="ModeMetricLoss", margin=0.5, posterior_weight=0.5, class_balanced=False),
    ),
    alignment=dict(
        type="ModeAlignmentTerm",
        weight=0.05,
        ramp_iterations=100,
        loss=dict(type="StochasticModeAlignmentLoss", distance="pair", stochastic=True),
    ),
)
# Labels come from both heads: the classifier's probabilities pooled with the posterior of the modes.
drsl_label_policy = dict(second_head="mmdl", second_share=0.5)
drsl_hook = dict(type="ModeMaintenanceHook", kmeans_iteration=500, interval=500)
custom_hooks = [dict(type="ModeMonitorHook", interval=50)]
