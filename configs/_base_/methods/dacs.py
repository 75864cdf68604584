"""DACS (Tranheden et al. 2021): an averaged teacher labels the target images of the batch, ClassMix mixes the domains.

A final config takes it up as ``model = dict(terms=dict(_base_.dacs_terms, _delete_=True))`` and
``default_hooks = dict(teacher=dict(_base_.dacs_teacher, begin=0))`` beside a `SelfTrainingHook` with ``online=True``: its
rounds set the share of target images and make no labels.
"""

dacs_terms = dict(
    source=dict(type="SegmentationTerm", domain="source"),
    mix=dict(type="ClassMixTerm", weight=1.0, confidence=0.968),
)
dacs_teacher = dict(
    type="TeacherHook",
    average=dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=True),
)
