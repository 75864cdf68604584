"""GTA5 to Cityscapes as VFM-UDA prepares it: crops of 1120 x 1120, which are 80 x 80 patches of 14 pixels.

The publication cuts 1024 x 1024 and enlarges these to 1120; here images are enlarged before they are cut. Evaluation
slides windows, without the mirrored ones of the publication. Rates are for eight source images in a step, two on each of
four devices.
"""

_base_ = "gta_cs_hrda.py"
crop_size = (1120, 1120)
full_size = dict(type="Resize", scale=(2240, 1120), keep_ratio=True)
source_dataset = dict(
    pipeline=[
        *_base_.read_source,
        dict(type="Resize", scale=(2800, 1575), keep_ratio=True),
        dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
        dict(type="PhotoMetricDistortion"),
        *_base_.flip,
    ]
)
random_crop = dict(type="RandomCrop", crop_size=crop_size)
target_dataset = dict(pipeline=[*_base_.read_target, full_size, random_crop, *_base_.flip])
oracle_dataset = dict(pipeline=[*_base_.read_source, full_size, random_crop, *_base_.flip])
train_dataloader = dict(
    # 3,000 pixels at 512 x 512 are as large a share of the scene as 14,355 at 1120 x 1120.
    sampler=dict(rare_class_sampling=dict(min_crop_ratio=2.4)),
    dataset=dict(source=source_dataset, target=target_dataset),
)
test_pipeline = [_base_.test_pipeline[0], full_size, *_base_.test_pipeline[2:]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
labeling_pipeline = [_base_.labeling_pipeline[0], full_size, *_base_.labeling_pipeline[2:]]
pair_model = dict(
    crop_size=crop_size,
    segmentor=dict(test_cfg=dict(mode="slide", crop_size=crop_size, stride=(560, 560))),
)
default_hooks = dict(self_training=dict(pipeline=labeling_pipeline))
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="LayerDecayConstructor",
    # 5e-5 times the root of eight images.
    optimizer=dict(type="AdamW", lr=1.41e-4, betas=(0.9, 0.999), weight_decay=0.01),
    # The rates of blocks are alike; VFM-UDA++ has 0.9.
    paramwise_cfg=dict(layer_decay=1.0, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=1500, by_epoch=False),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=1500, end=40000, by_epoch=False),
]
