"""VFM-UDA (DINOv2 ViT-B/14), GTA5 to Cityscapes, about as published.

python tools/train.py configs/vfm_uda/dinov2_vitb_gta2cs.py

Not run here: needs the full sets and DINOv2's weights, see _base_/models/dinov2_vitb.py. On four devices, with --amp as
published. The release also leaves out the teacher's labels in the outermost 3 % of columns.
"""

_base_ = [
    "../_base_/models/dinov2_vitb.py",
    "../_base_/pairs/gta_cs_vfm_uda.py",
    "../_base_/methods/vfm_uda.py",
]
model = {**_base_.method, **_base_.pair_model}
model["terms"]["mix"]["ignored_rows"] = (34, 280)
model["terms"]["masked"]["ignored_rows"] = (34, 280)
default_hooks = _base_.method_hooks
