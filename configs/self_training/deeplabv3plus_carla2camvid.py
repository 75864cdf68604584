"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training.

python tools/train.py configs/self_training/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core, with labels from one scale: mIoU 34.1 (0006R0 32.3, 0016E5 32.8), 900 steps of about
1.2 s; two labellings of four minutes each from three scales. This exact config, with both, was not run.
"""

_base_ = [
    "../source_only/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/self_training.py",
]
model = dict(terms={{_base_.self_training_terms}})
default_hooks = dict(
    teacher=dict(
        type="TeacherHook",
        begin={{_base_.warmup_iterations}},
        evaluate=True,
        average={{_base_.teacher_average}},
    ),
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations={{_base_.warmup_iterations}},
        rounds={{_base_.rounds}},
        label_with="teacher",
        # What three scales agree on: of such labels more are right (docs/experiments.md).
        labeller=dict(flip=True, scales=(0.75, 1.0, 1.25), spool_stride=2),
    ),
)
