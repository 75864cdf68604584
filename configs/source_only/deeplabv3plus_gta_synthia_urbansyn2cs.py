"""DeepLabV3+ (ResNet-50), GTA5, SYNTHIA and UrbanSyn to Cityscapes, trained on the source alone: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_gta_synthia_urbansyn2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta_synthia_urbansyn2cs.py",
    "../_base_/methods/source_only.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
