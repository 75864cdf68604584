"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: soft instead of hard minimum over a class's modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_softmin.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(
    terms=dict(
        metric=dict(loss=dict(class_distance="softmin")),
        metric_target=dict(loss=dict(class_distance="softmin")),
    )
)
