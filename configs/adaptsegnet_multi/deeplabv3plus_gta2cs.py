"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, AdaptSegNet: adversarial alignment of two outputs.

python tools/train.py configs/adaptsegnet_multi/deeplabv3plus_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/adaptsegnet_multi.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
