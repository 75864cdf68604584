"""Small DeepLabV3+ from scratch, the procedural scenes, DAFormer's way to train.

python tools/train.py configs/daformer/deeplabv3plus_scenes2scenes.py

Not run here yet. Random weights leave the feature distance nothing to stay near to: its factor is 0.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_small.py",
    "../_base_/pairs/scenes2scenes.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
# From random weights there is nothing to stay near to.
model["terms"]["distance"]["weight"] = 0.0
train_dataloader = dict(sampler=dict(rare_class_sampling=dict(min_pixels=100)))
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.01
