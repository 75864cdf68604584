"""GTA5 (rendered, labeled) to BDD100K (real, unlabeled), 19 classes.

Layout: data/bdd100k/{images/10k,labels/sem_seg/masks}/{train,val} as downloaded, and data/gta5/{images,labels}. The
environment variable MMDRSL_SAMPLES names another data folder.
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
target_resize = dict(
    type="RandomResize", scale=(1024, 576), ratio_range=(1.0, 1.5), keep_ratio=True
)
test_resize = dict(type="Resize", scale=(1024, 576), keep_ratio=True)
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
    type="GTA5Dataset",
    data_root=data_root + "/gta5",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *crop],
)
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=data_root + "/bdd100k",
    data_prefix=dict(img_path="images/10k/train"),
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *crop],
)
train_dataloader = dict(dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="LabelledImageDataset",
        data_root=data_root + "/bdd100k",
        data_prefix=dict(img_path="images/10k/val", seg_map_path="labels/sem_seg/masks/val"),
        img_suffix=".jpg",
        label_space=label_space,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
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
