"""DeepLabV3+ (ResNet-50), GTA5 and SYNTHIA to Cityscapes, trained on the labeled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_gta_synthia2cs.py

Not run here: needs the full sets.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta_synthia2cs.py",
    "../_base_/methods/source_only.py",
]
title = "Oracle"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source=_base_.oracle_dataset)
)
