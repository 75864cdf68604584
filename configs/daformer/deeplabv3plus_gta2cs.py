"""DeepLabV3+ (ResNet-50), GTA5 to Cityscapes, DAFormer's way to train.

python tools/train.py configs/daformer/deeplabv3plus_gta2cs.py

Not run here: needs the full sets and ImageNet weights of the backbone.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/pairs/gta2cs.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
rare_classes = dict(min_pixels=_base_.benchmark.rare_class_pixels)
train_dataloader = dict(sampler=dict(rare_class_sampling=rare_classes))
default_hooks = _base_.method_hooks
