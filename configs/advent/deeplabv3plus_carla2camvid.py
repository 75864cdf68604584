"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, ADVENT: adversarial alignment of the entropy of two outputs.

python tools/train.py configs/advent/deeplabv3plus_carla2camvid.py

Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 36.8 (0006R0 34.0,
0016E5 37.9), 900 steps of about 1.3 s.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/advent.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
