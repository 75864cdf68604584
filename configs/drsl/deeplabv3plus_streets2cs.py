"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, DRSL: self-training with mode learning and alignment.

python tools/train.py configs/drsl/deeplabv3plus_streets2cs.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/drsl_short.py",
]
model = {**_base_.method, **_base_.pair_model, "bn_mode": "separate"}
default_hooks = _base_.method_hooks
