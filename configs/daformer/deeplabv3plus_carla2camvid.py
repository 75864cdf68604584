"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DAFormer's self-training and feature distance.

python tools/train.py configs/daformer/deeplabv3plus_carla2camvid.py

Not run here yet.
"""

_base_ = [
    "../_base_/models/deeplabv3plus_mobilenetv2_in1k.py",
    "../_base_/pairs/carla2camvid.py",
    "../_base_/methods/daformer.py",
]
model = {**_base_.method, **_base_.pair_model}
default_hooks = _base_.method_hooks
default_hooks["teacher"]["average"]["momentum"] = 0.01
