"""Small DeepLabV3+ on the procedural scenes, DRSL ablation: only feature cells that one label covers to three quarters.

python tools/train.py configs/drsl/ablations/deeplabv3plus_scenes2scenes_pure_labels.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_scenes2scenes.py"]
model = dict(
    terms=dict(
        metric=dict(min_label_purity=0.75),
        metric_target=dict(min_label_purity=0.75),
        alignment=dict(min_label_purity=0.75),
    )
)
