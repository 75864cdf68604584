"""What any method can be given beside its own: `tools/run_benchmark.py --tricks` does so for all of them alike."""

# Mean Teacher (Tarvainen and Valpola 2017), about the mean of the last hundred steps. It labels and predicts; begin is
# the end of the warm-up.
mean_teacher = dict(
    type="MeanTeacherHook",
    average=dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=True),
)
# Noise for the student on target images, after the geometric transforms: the labels were made on clean ones (Noisy
# Student, Xie et al. 2020), see docs/self_training.md.
target_augmentation = [
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
# Labels from three scales of every image.
multi_scale_labels = (0.75, 1.0, 1.25)
# Weight of the target in the statistics of batch normalization under which a network labels and predicts.
target_bn = 0.25
