"""A second classifier on the third feature map, of four or five, for methods that align or compare two outputs.

It is a head of the adaptor and not MMSegmentation's ``auxiliary_head``: its first weights are drawn aside, so that every
method starts from one segmentor, and the exported checkpoint stays that of the plain segmentor. It learns beside the
warm-up, which stays that of source-only training.
"""

method = dict(
    heads=dict(
        auxiliary=dict(
            type="FCNHead",
            in_index=2,
            channels=64,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            norm_cfg=dict(type="BN", requires_grad=True),
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        )
    ),
    heads_shape_warmup=False,
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        source_auxiliary=dict(
            type="SegmentationTerm", domain="source", head="auxiliary", weight=0.1
        ),
    ),
)
method_hooks = dict()
