"""Class-balanced self-training: cross entropy on pseudo labels that are renewed every round, with MRKLD.

A final config takes it up as
    model = dict(terms={{_base_.self_training_terms}})
    default_hooks = dict(self_training=dict(
        {{_base_.self_training_hook}}, warmup_iterations=..., rounds=[...]))
"""

self_training_terms = dict(
    target=dict(type="SegmentationTerm", domain="target", weight=1.0),
    regularisation=dict(type="ModelRegularisationTerm", weight=0.1),
)
