"""Small DeepLabV3+ from scratch, the procedural scenes, CyCADA's feature level: original images, class scores aligned.

python tools/train.py configs/cycada_feature/deeplabv3plus_scenes2scenes.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/cycada_feature.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
