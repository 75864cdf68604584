"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training with MRKLD (CRST).

python tools/train.py configs/mrkld/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core, with labels from one scale: mIoU 33.4 (0006R0 31.9, 0016E5 31.6), 900 steps of about
1.2 s; two labelings of four minutes each from three scales. This exact config, with both, was not run.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/mrkld.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
