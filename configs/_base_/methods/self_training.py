"""Self-training (CBST, Zou et al. 2018): cross entropy on class-balanced pseudo labels that are renewed every round."""

title = "Self-training"
method = dict(
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        target=dict(
            type="SegmentationTerm",
            domain="target",
            # No class weights here: with them the rare classes flood (docs/experiments.md).
            loss=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
    )
)
method_hooks = dict()
