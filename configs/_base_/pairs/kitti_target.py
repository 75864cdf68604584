"""KITTI (real) as the unlabeled target, for any source: the part that gta2kitti.py and synthia2kitti.py share.

Layout: data/kitti/raw/<date>/<drive>_sync/image_02/data/*.png, data/kitti/training/{image_2,semantic}. The 200 labeled
images of KITTI semantics are the evaluation; they were taken out of raw drives, which
target_dataset.excluded_drives leaves out (names in the development kit's mapping; empty here, since the mapping is not
part of this project). There is no oracle: no other image of KITTI has labels. The environment variable
MMDRSL_SAMPLES names another data folder.
"""

_base_ = ["street_pair.py", "../schedules/full_sets.py"]
data_root = "{{$MMDRSL_SAMPLES:data}}"
crop_size = (352, 768)
crop = [
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
target_resize = dict(
    type="RandomResize", scale=(1242, 375), ratio_range=(1.0, 1.5), keep_ratio=True
)
target_dataset = dict(
    type="KITTIRawDataset",
    data_root=data_root + "/kitti/raw",
    excluded_drives=[],
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *crop],
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="KITTIDataset",
        data_root=data_root + "/kitti",
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations=_base_.warmup_iterations,
        rounds=_base_.rounds,
        labeler=dict(flip=True, prediction_stride=4),
        pipeline=_base_.labeling_pipeline,
        num_workers=2,
    )
)
