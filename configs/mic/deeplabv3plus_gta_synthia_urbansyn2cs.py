"""DeepLabV3+ (ResNet-50), GTA5, SYNTHIA and UrbanSyn to Cityscapes, MIC: DACS and masked image consistency.

python tools/train.py configs/mic/deeplabv3plus_gta_synthia_urbansyn2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta_synthia_urbansyn2cs.py",
    "../_base_/methods/mic.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["masked"]["block_size"] = 32
model["terms"]["mix"]["classes_from"] = "batch"
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.001
