"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, trained on the source alone: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_carla2camvid.py

Measured with seed 0 on one core: mIoU 33.4 (0006R0 32.3, 0016E5 32.4), 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/source_only.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
