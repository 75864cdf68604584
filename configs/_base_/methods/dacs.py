"""DACS (Tranheden et al. 2021): an averaged teacher labels the target images of the batch, ClassMix mixes the domains.

The teacher labels under the statistics of the batch; parameters alone are averaged. ``statistics="running"`` is the
other choice.
"""

title = "DACS"
method = dict(
    bn_mode="separate",
    terms=dict(
        source=dict(type="SegmentationTerm", domain="source"),
        mix=dict(type="ClassMixTerm", weight=1.0, pseudo_threshold=0.968),
    ),
)
# Rounds set the share of target images and make no labels. The teacher begins with the first step, as released.
method_hooks = dict(
    self_training=dict(online=True),
    teacher=dict(
        type="MeanTeacherHook",
        begin=0,
        statistics="batch",
        average=dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=False),
    ),
)
