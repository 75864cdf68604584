"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_carla2camvid.py

Measured on one core without the teacher (tools/run_benchmark.py --tricks multi_scale_labels), seeds 0, 1, 2: mean of both
drives 35.4, 36.9, 33.1, mIoU 37.1, 37.8, 34.3; with labels from one scale 35.8, 35.9, 31.4. 900 steps of about 1.3 s
and two labelings of four minutes. With the teacher it was not run.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/drsl_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
