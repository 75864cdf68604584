"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL at every step, beside MIC.

python tools/train.py configs/drsl_mic/deeplabv3plus_carla2camvid.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/drsl_mic_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
