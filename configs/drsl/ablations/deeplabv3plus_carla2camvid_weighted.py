"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, DRSL ablation: pseudo labels weighted by their confidence in mode learning and alignment.

python tools/train.py configs/drsl/ablations/deeplabv3plus_carla2camvid_weighted.py

Not run here yet.
"""

_base_ = ["../deeplabv3plus_carla2camvid.py"]
model = dict(terms=dict(metric_target=dict(weighted=True), alignment=dict(weighted=True)))
train_dataloader = dict(
    dataset=dict(
        target=dict(
            pipeline=[
                dict(type="LoadImage"),
                dict(type="LoadPseudoLabels"),
                dict(type="LoadPseudoLabelConfidence"),
                dict(
                    type="RandomResize", scale=(320, 240), ratio_range=(0.8, 1.5), keep_ratio=True
                ),
                dict(type="RandomCrop", crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PhotoMetricDistortion"),
                dict(type="PackTargetInputs", meta_keys={{_base_.meta_keys}}),
            ]
        )
    )
)
