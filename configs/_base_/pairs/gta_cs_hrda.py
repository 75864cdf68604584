"""GTA5 to Cityscapes as HRDA prepares it: twice the resolution of gta_cs_daformer.py, crops of 1024 x 1024.

A class is in view from 6,000 pixels on. Evaluation slides windows of the size of the crops over images of 2048 x 1024.
"""

_base_ = "gta_cs_daformer.py"
crop_size = (1024, 1024)
flip = [dict(type="RandomFlip", prob=0.5), dict(type="PackSegInputs")]
full_size = dict(type="Resize", scale=(2048, 1024), keep_ratio=True)
source_dataset = dict(
    pipeline=[
        *_base_.read_source,
        dict(type="Resize", scale=(2560, 1440), keep_ratio=True),
        dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
        *flip,
    ]
)
random_crop = dict(type="RandomCrop", crop_size=crop_size)
target_dataset = dict(pipeline=[*_base_.read_target, full_size, random_crop, *flip])
oracle_dataset = dict(pipeline=[*_base_.read_source, full_size, random_crop, *flip])
train_dataloader = dict(
    sampler=dict(rare_class_sampling=dict(min_crop_ratio=2.0)),
    dataset=dict(source=source_dataset, target=target_dataset),
)
test_pipeline = [_base_.test_pipeline[0], full_size, *_base_.test_pipeline[2:]]
tta_pipeline = [
    dict(type="LoadImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(width, width // 2), keep_ratio=True)
                for width in (1792, 2048, 2560)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadLabels")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
labeling_pipeline = [_base_.labeling_pipeline[0], full_size, *_base_.labeling_pipeline[2:]]
pair_model = dict(
    crop_size=crop_size,
    segmentor=dict(test_cfg=dict(mode="slide", crop_size=crop_size, stride=(512, 512))),
)
default_hooks = dict(self_training=dict(pipeline=labeling_pipeline))
