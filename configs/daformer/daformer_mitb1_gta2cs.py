"""DAFormer (MiT-B1), GTA5 to Cityscapes, DAFormer for smaller machines.

python tools/train.py configs/daformer/daformer_mitb1_gta2cs.py

Not run here: needs the full sets and ImageNet weights, see _base_/models/segformer_b0.py.
"""

_base_ = [
    "../_base_/models/daformer_mitb1.py",
    "../_base_/pairs/gta_cs_daformer.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["mix"]["ignored_rows"] = (15, 120)
default_hooks = _base_.method_hooks
