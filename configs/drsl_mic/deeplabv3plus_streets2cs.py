"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, DRSL at every step, beside MIC.

python tools/train.py configs/drsl_mic/deeplabv3plus_streets2cs.py

Seeds 0 and 1: 35.1 and 36.1, where MIC has 36.6 and 35.2 from the same warm-ups (docs/streets2cs.md); 64 minutes on one
core, 36 of them for the warm-up.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/drsl_mic_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
