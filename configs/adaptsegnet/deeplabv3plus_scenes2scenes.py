"""Small DeepLabV3+ from scratch, the procedural scenes, AdaptSegNet: adversarial alignment of the output, one level.

python tools/train.py configs/adaptsegnet/deeplabv3plus_scenes2scenes.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/adaptsegnet.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
