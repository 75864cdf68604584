"""DeepLab-V2 (ResNet-101), GTA5 to Cityscapes, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv2_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/adaptsegnet.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
