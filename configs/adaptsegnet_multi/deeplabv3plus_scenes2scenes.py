"""Small DeepLabV3+ from scratch, the procedural scenes, AdaptSegNet: adversarial alignment of two outputs.

python tools/train.py configs/adaptsegnet_multi/deeplabv3plus_scenes2scenes.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/adaptsegnet_multi.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
