"""Small DeepLabV3+ from scratch, the procedural scenes, ADVENT: adversarial alignment of the entropy of two outputs.

python tools/train.py configs/advent/deeplabv3plus_scenes2scenes.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/advent.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
