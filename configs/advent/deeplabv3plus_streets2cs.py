"""DeepLabV3+ (MobileNetV2), streets to Cityscapes, ADVENT: adversarial alignment of the entropy.

python tools/train.py configs/advent/deeplabv3plus_streets2cs.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/streets2cs.py",
    "../_base_/methods/advent.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
