"""MIC on HRDA (DAFormer on MiT-B5), GTA5 to Cityscapes, as published.

python tools/train.py configs/mic/mic_hrda_mitb5_gta2cs.py

Not run here: needs the full sets and ImageNet weights, see _base_/models/segformer_b0.py. The release also leaves out
the teacher's labels in the 30 outermost columns of whole images, and keeps masked images in running statistics.
"""

_base_ = [
    "../_base_/models/hrda_mitb5.py",
    "../_base_/pairs/gta_cs_hrda.py",
    "../_base_/methods/daformer_mic.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["mix"]["ignored_rows"] = (30, 240)
model["terms"]["masked"]["ignored_rows"] = (30, 240)
default_hooks = _base_.method_hooks
