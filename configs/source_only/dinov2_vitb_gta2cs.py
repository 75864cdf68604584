"""Foundation model (DINOv2 ViT-B/14), GTA5 to Cityscapes, trained on the source alone: the lower bound of VFM-UDA.

python tools/train.py configs/source_only/dinov2_vitb_gta2cs.py

Not run here: needs the full sets and DINOv2's weights, see _base_/models/dinov2_vitb.py.
"""

_base_ = [
    "../_base_/models/dinov2_vitb.py",
    "../_base_/pairs/gta_cs_vfm_uda.py",
    "../_base_/methods/source_only.py",
]
title = "VFM, source only"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
