"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DAFormer's way to train.

python tools/train.py configs/daformer/deeplabv3plus_carla2camvid.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
rare_classes = dict(min_pixels=_base_.benchmark.rare_class_pixels)
train_dataloader = dict(sampler=dict(rare_class_sampling=rare_classes))
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.01
