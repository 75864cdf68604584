"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, DRSL at every step, beside MIC.

python tools/train.py configs/drsl_mic/deeplabv3plus_streets2cs.py

Not run on this pair yet. On a proxy of it 33.3, where MIC has 32.5 (docs/experiments.md).
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/drsl_mic_short.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
