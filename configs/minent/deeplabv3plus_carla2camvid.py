"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, MinEnt: entropy minimization on the target.

python tools/train.py configs/minent/deeplabv3plus_carla2camvid.py

Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 36.0 (0006R0 33.8,
0016E5 37.1), 900 steps of about 1.2 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/minent.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
