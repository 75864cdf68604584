"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: soft instead of hard minimum over a class's modes.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_softmin.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(
    terms=dict(
        metric=dict(loss=dict(class_distance="softmin")),
        metric_target=dict(loss=dict(class_distance="softmin")),
    )
)
