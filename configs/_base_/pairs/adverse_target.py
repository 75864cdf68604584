"""Cityscapes (real, labeled) to the same classes in bad weather or at night: what cs2acdc.py and cs2darkzurich.py share.

Layout: data/cityscapes/{leftImg8bit,gtFine}/train as downloaded (labelIds; no conversion). The environment variable
MMDRSL_SAMPLES names another data folder. Images of the target are 1920 x 1080 and are halved. There is no oracle config.
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
    type="RandomResize", scale=(1024, 512), ratio_range=(1.0, 1.5), keep_ratio=True
)
target_resize = dict(type="RandomResize", scale=(960, 540), ratio_range=(1.0, 1.5), keep_ratio=True)
test_resize = dict(type="Resize", scale=(960, 540), keep_ratio=True)
test_pipeline = [
    dict(type="LoadImage"),
    test_resize,
    dict(type="LoadLabels"),
    dict(type="PackSegInputs"),
]
labeling_pipeline = [
    dict(type="LoadImage"),
    test_resize,
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
]
source_dataset = dict(
    type="CityscapesLabelIdsDataset",
    data_root=data_root + "/cityscapes",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *crop],
)
target_pipeline = [dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *crop]
train_dataloader = dict(dataset=dict(source=source_dataset))
pair_model = dict(label_space=label_space, crop_size=crop_size)
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations=_base_.warmup_iterations,
        rounds=_base_.rounds,
        labeler=dict(flip=True, prediction_stride=4),
        pipeline=labeling_pipeline,
        num_workers=2,
    )
)
