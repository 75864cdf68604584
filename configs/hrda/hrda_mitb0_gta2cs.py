"""HRDA (DAFormer on MiT-B0), GTA5 to Cityscapes, for smaller machines.

python tools/train.py configs/hrda/hrda_mitb0_gta2cs.py

Not run here: needs the full sets and ImageNet weights, see _base_/models/segformer_b0.py.
"""

_base_ = [
    "../_base_/models/hrda_mitb0.py",
    "../_base_/pairs/gta_cs_hrda.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["mix"]["ignored_rows"] = (30, 240)
default_hooks = _base_.method_hooks
