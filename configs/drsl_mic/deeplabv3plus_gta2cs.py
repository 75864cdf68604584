"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, DRSL at every step, beside MIC.

python tools/train.py configs/drsl_mic/deeplabv3plus_gta2cs.py

Not run here: needs the full sets. As published for crops of 512: blocks of 32 pixels, teacher of rate 0.999, classes
from those of the batch.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/drsl_mic.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["masked"]["block_size"] = 32
model["terms"]["mix"]["classes_from"] = "batch"
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.001
