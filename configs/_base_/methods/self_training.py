"""Class-balanced self-training: cross entropy on pseudo labels that are renewed every round, with MRKLD.

A final config takes it up as ``model = dict(terms={{_base_.self_training_terms}})`` beside a `SelfTrainingHook`, and
with ``teacher_average`` for a `TeacherHook` that labels and predicts (Mean Teacher, Tarvainen and Valpola 2017). The
teacher begins where the warm-up ends, so that the warm-up stays that of source-only training.
"""

self_training_terms = dict(
    target=dict(
        type="SegmentationTerm",
        domain="target",
        weight=1.0,
        # No class weights here: with them the rare classes flood (docs/experiments.md).
        loss=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    regularisation=dict(type="ModelRegularisationTerm", weight=0.1),
)
# About the mean of the last hundred steps.
teacher_average = dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=True)
# Noise for the student on target images: the labels were made on clean ones (Noisy Student). A final config puts it
# into the target's pipeline after the geometric transforms, see docs/self_training.md.
strong_noise = [
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomGaussianBlur", prob=0.5),
    dict(type="RandomGaussianNoise", prob=0.5),
    # The pixels cut out keep no label.
    dict(
        type="RandomCutOut",
        prob=0.5,
        n_holes=(1, 3),
        cutout_ratio=[(0.1, 0.1), (0.1, 0.2), (0.2, 0.2)],
        seg_fill_in=255,
    ),
]
