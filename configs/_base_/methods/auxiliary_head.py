"""A second classifier on earlier features, for methods that align or compare two outputs.

A final config takes it up as ``model = dict(heads=dict(auxiliary=dict(_base_.auxiliary_head, in_channels=..., in_index=...,
num_classes=...)))``. It is a head of the adaptor and not MMSegmentation's ``auxiliary_head``: its first weights are drawn
aside, so that every method starts from one segmentor, and the exported checkpoint stays that of the plain segmentor. With
``heads_shape_warmup=False`` it learns beside the warm-up, which then stays that of source-only training.
"""

auxiliary_head = dict(
    type="FCNHead",
    channels=64,
    num_convs=1,
    concat_input=False,
    dropout_ratio=0.1,
    norm_cfg=dict(type="BN", requires_grad=True),
    align_corners=False,
    loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
)
