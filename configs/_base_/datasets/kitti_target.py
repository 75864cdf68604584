"""KITTI (real) as the unlabelled target, for any source: the part that gta2kitti.py and synthia2kitti.py share.

Layout: data/kitti/raw/<date>/<drive>_sync/image_02/data/*.png, data/kitti/training/{image_2,semantic}. The 200 labelled
images of KITTI semantics are the evaluation; they were taken out of raw drives, which
target_dataset.excluded_drives leaves out (names in the development kit's mapping; empty here, since the mapping is not
part of this project). There is no oracle: no other image of KITTI has labels. The environment variable
MMDRSL_SAMPLES names another data folder.
"""

data_root = "{{$MMDRSL_SAMPLES:data}}"
crop_size = (352, 768)
meta_keys = (
    "img_path",
    "seg_map_path",
    "ori_shape",
    "img_shape",
    "pad_shape",
    "scale_factor",
    "flip",
    "flip_direction",
)
crop = [
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs", meta_keys=meta_keys),
]
target_resize = dict(
    type="RandomResize", scale=(1242, 375), ratio_range=(1.0, 1.5), keep_ratio=True
)
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="LoadLabels"),
    dict(type="PackSegInputs", meta_keys=meta_keys),
]
tta_pipeline = [
    dict(type="LoadImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=ratio, keep_ratio=True)
                for ratio in (0.75, 1.0, 1.25)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadLabels")],
            [dict(type="PackSegInputs", meta_keys=meta_keys)],
        ],
    ),
]
labelling_pipeline = [
    dict(type="LoadImage"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "sample_id")),
]
target_dataset = dict(
    type="KITTIRawDataset",
    data_root=data_root + "/kitti/raw",
    excluded_drives=[],
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *crop],
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type="TwoDomainSampler"),
    dataset=dict(type="TwoDomainDataset", target=target_dataset),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="KITTIDataset", data_root=data_root + "/kitti", test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ClassIoUMetric")
test_evaluator = val_evaluator
