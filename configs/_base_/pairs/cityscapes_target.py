"""Cityscapes (real) as the unlabeled target, for any source: the part that gta2cs.py and synthia2cs.py share.

Layout: data/cityscapes/{leftImg8bit,gtFine}/{train,val} as downloaded (labelIds; no conversion), or flat folders
data/cityscapes/{images,labels}. The environment variable MMDRSL_SAMPLES names another data folder. Labels of the target
training images are for the oracle only. Evaluation is at full label size, over 19, 16 and 13 classes where they apply.
"""

_base_ = ["street_pair.py", "../schedules/full_sets.py"]
data_root = "{{$MMDRSL_SAMPLES:data}}"
crop_size = (512, 1024)
crop = [
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
target_resize = dict(
    type="RandomResize", scale=(1024, 512), ratio_range=(1.0, 1.5), keep_ratio=True
)
test_resize = dict(type="Resize", scale=(1024, 512), keep_ratio=True)
test_pipeline = [
    dict(type="LoadImage"),
    test_resize,
    dict(type="LoadLabels"),
    dict(type="PackSegInputs"),
]
tta_pipeline = [
    dict(type="LoadImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(width, width // 2), keep_ratio=True)
                for width in (896, 1024, 1280)
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
labeling_pipeline = [
    dict(type="LoadImage"),
    test_resize,
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
]
# The first of the named folders that exists is used.
target_images = ("leftImg8bit/train", "images")
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=data_root + "/cityscapes",
    data_prefix=dict(img_path=target_images),
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *crop],
)
# The labeled target, for the oracle only.
oracle_dataset = dict(
    type="CityscapesLabelIdsDataset",
    data_root=data_root + "/cityscapes",
    data_prefix=dict(img_path=target_images, seg_map_path=("gtFine/train", "labels")),
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), target_resize, *crop],
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="CityscapesLabelIdsDataset",
        data_root=data_root + "/cityscapes",
        data_prefix=dict(
            img_path=("leftImg8bit/val", "images"), seg_map_path=("gtFine/val", "labels")
        ),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
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
