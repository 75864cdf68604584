"""DeepLabV3+ (ResNet-50), Cityscapes to ACDC, MIC: DACS and masked image consistency.

python tools/train.py configs/mic/deeplabv3plus_cs2acdc.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/cs2acdc.py",
    "../_base_/methods/mic.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["masked"]["block_size"] = 32
model["terms"]["mix"]["classes_from"] = "batch"
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.001
