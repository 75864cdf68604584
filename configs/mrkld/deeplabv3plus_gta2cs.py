"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, class-balanced self-training with MRKLD (CRST).

python tools/train.py configs/mrkld/deeplabv3plus_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/mrkld.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
