"""Small DeepLabV3+ from scratch, the procedural scenes, class-balanced self-training (CBST).

python tools/train.py configs/self_training/deeplabv3plus_scenes2scenes.py

Not run here yet with this config; with MRKLD beside it see mrkld/.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/self_training.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
