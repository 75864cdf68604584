"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL: self-training with mode learning and mode alignment.

python tools/train.py configs/drsl/deeplabv3plus_carla2camvid.py

RESULT
"""

_base_ = [
    "../self_training/deeplabv3plus_carla2camvid.py",
    "../_base_/methods/drsl.py",
]
model = dict(
    heads=dict(mmdl=dict(type="MMDLHead", in_channels=320, in_index=3, num_classes=10)),
    terms={{_base_.drsl_terms}},
)
default_hooks = dict(
    modes=dict(type="ModeMaintenanceHook", kmeans_iteration=200, interval=200),
)
