"""DACS (Tranheden et al. 2021): an averaged teacher labels the target images of the batch, ClassMix mixes the domains.

A final config takes it up as ``model = dict(terms={{_base_.dacs_terms}})`` and
``default_hooks = dict(teacher={{_base_.dacs_teacher}})`` beside a `SelfTrainingHook` with
``online=True``: its rounds set the share of target images and make no labels.
"""

dacs_terms = dict(mix=dict(type="ClassMixTerm", weight=1.0, confidence=0.968))
dacs_teacher = dict(
    type="TeacherHook",
    average=dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=True),
)
