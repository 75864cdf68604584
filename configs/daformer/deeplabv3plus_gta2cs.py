"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, DAFormer's self-training and feature distance.

python tools/train.py configs/daformer/deeplabv3plus_gta2cs.py

Not run here: needs the full sets and ImageNet weights of the backbone.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
