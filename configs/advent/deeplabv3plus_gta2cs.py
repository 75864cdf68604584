"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, ADVENT: adversarial alignment of the entropy of two outputs.

python tools/train.py configs/advent/deeplabv3plus_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/advent.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
