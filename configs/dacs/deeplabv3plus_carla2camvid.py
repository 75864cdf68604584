"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DACS: ClassMix with an averaged teacher, online.

python tools/train.py configs/dacs/deeplabv3plus_carla2camvid.py

Not run with this config. DACS of version 0.1, which differs (docs/benchmark.md), had mIoU 33.5 with seed 0 (0006R0 32.1,
0016E5 33.6). A step costs two forward passes more than one of self-training, one of them without gradients.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/dacs.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
