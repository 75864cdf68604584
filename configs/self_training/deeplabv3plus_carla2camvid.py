"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, class-balanced self-training (CBST).

python tools/train.py configs/self_training/deeplabv3plus_carla2camvid.py

Measured with seed 0, labels from one scale and without the teacher (tools/run_benchmark.py) on one core: mIoU 34.5
(0006R0 32.3, 0016E5 33.6), 900 steps of about 1.2 s, two labelings.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/self_training.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
