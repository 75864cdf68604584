"""Small DeepLabV3+ from scratch, the procedural scenes, trained on the source alone: the lower bound.

python tools/train.py configs/source_only/deeplabv3plus_scenes2scenes.py

Measured with seeds 0, 1, 2: mIoU 21.7, 24.3, 24.4. About five minutes on one core.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/source_only.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = dict(_base_.runtime_hooks, _delete_=True)
