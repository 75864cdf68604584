"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv3plus_carla2camvid.py

Measured with seed 0 and without the averaged teacher (tools/run_benchmark.py) on one core: mIoU 35.0 (0006R0 33.5,
0016E5 35.4), 900 steps of about 1.2 s; with bn_mode="joint" 26.8.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/adaptsegnet.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
