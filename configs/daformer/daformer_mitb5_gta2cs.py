"""DAFormer (MiT-B5), GTA5 to Cityscapes, as published.

python tools/train.py configs/daformer/daformer_mitb5_gta2cs.py

Not run here: needs the full sets and ImageNet weights, see _base_/models/segformer_b0.py.
"""

_base_ = [
    "../_base_/models/daformer_mitb5.py",
    "../_base_/pairs/gta_cs_daformer.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["mix"]["ignored_rows"] = (15, 120)
default_hooks = _base_.method_hooks
