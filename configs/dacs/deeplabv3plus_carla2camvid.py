"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DACS: ClassMix with an averaged teacher, online.

python tools/train.py configs/dacs/deeplabv3plus_carla2camvid.py

Not run here yet. A step costs two forward passes more than one of self-training, one of them without gradients.
"""

_base_ = ["../source_only/deeplabv3plus_carla2camvid.py", "../_base_/methods/dacs.py"]
model = dict(terms={{_base_.dacs_terms}})
default_hooks = dict(
    teacher={{_base_.dacs_teacher}},
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations={{_base_.warmup_iterations}},
        rounds={{_base_.rounds}},
        online=True,
    ),
)
