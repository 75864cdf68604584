"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, the control: target images without a loss, frozen statistics.

python tools/train.py configs/target_unused/deeplabv3plus_carla2camvid.py

Measured as self-training with factor 0 on the target, without the averaged teacher, with seeds 0, 1, 2: mIoU 35.6,
32.6, 35.5; with joint statistics 28.3 (seed 0). 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/target_unused.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
