"""Small DeepLabV3+ from scratch, the procedural scenes, DACS: ClassMix with an averaged teacher, online.

python tools/train.py configs/dacs/deeplabv3plus_scenes2scenes.py

Not run here yet. A step costs two forward passes more than one of self-training, one of them without gradients.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/dacs.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
