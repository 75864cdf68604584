"""DeepLab-V2 (ResNet-101), GTA5 to Cityscapes, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv2_gta2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/drsl.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
