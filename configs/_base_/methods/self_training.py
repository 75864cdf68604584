"""Class-balanced self-training: cross entropy on pseudo labels that are renewed every round, with MRKLD.

A final config takes it up as ``model = dict(terms={{_base_.self_training_terms}})`` beside a `SelfTrainingHook`.
"""

self_training_terms = dict(
    target=dict(
        type="SegmentationTerm",
        domain="target",
        weight=1.0,
        # No class weights here: the selection of labels is class-balanced already.
        loss=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    regularisation=dict(type="ModelRegularisationTerm", weight=0.1),
)
