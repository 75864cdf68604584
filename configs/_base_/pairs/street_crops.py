"""Crops of 512 x 512 pixels, 19 classes, GTA5 as the source: what gta2bdd.py, gta2mapillary.py, adverse_target.py share.

Layout: data/gta5/{images,labels}. The environment variable MMDRSL_SAMPLES names another data folder.
"""

_base_ = ["street_pair.py", "../schedules/full_sets.py"]
data_root = "{{$MMDRSL_SAMPLES:data}}"
label_space = "cityscapes19"
crop_size = (512, 512)
crop = [
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
source_resize = dict(
    type="RandomResize", scale=(1280, 720), ratio_range=(0.9, 1.5), keep_ratio=True
)
source_dataset = dict(
    type="GTA5Dataset",
    data_root=data_root + "/gta5",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *crop],
)
train_dataloader = dict(dataset=dict(source=source_dataset))
pair_model = dict(label_space=label_space, crop_size=crop_size)
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations=_base_.warmup_iterations,
        rounds=_base_.rounds,
        labeler=dict(flip=True, prediction_stride=4),
        num_workers=2,
    )
)
