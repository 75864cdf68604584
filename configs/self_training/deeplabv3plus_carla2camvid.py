"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training.

python tools/train.py configs/self_training/deeplabv3plus_carla2camvid.py

RESULT
"""

_base_ = [
    "../source_only/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/self_training.py",
]
model = dict(terms={{_base_.self_training_terms}})
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations={{_base_.warmup_iterations}},
        rounds={{_base_.rounds}},
        labeller=dict(flip=True, spool_stride=2),
    )
)
