"""CARLA (rendered, labelled) to CamVid (real, unlabelled) at 320 x 240, ten shared classes.

Layout: <root>/{carla,camvid}/{images,labels}/ with split lists beside them; <root> is data/benchmark, or the
environment variable MMDRSL_BENCHMARK. Labels of camvid/train are never read here.
"""

data_root = "{{$MMDRSL_BENCHMARK:data/benchmark}}"
label_space = "street10"
num_classes = 10
crop_size = (192, 256)
# Share of pixels of each class in carla/train, in percent.
share = {
    "sky": 32.1,
    "building": 8.8,
    "pole": 0.41,
    "road": 44.9,
    "sidewalk": 1.9,
    "vegetation": 9.3,
    "sign_or_light": 0.05,
    "fence": 1.4,
    "car": 0.58,
    "person": 0.04,
}
class_weight = [(5.0 / value) ** 0.5 for value in share.values()]
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
augmentation = [
    dict(type="RandomResize", scale=(320, 240), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs", meta_keys=meta_keys),
]
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
source_dataset = dict(
    type="CARLADataset",
    data_root=data_root + "/carla",
    ann_file="train.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=data_root + "/camvid",
    data_prefix=dict(img_path="images"),
    ann_file="train.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *augmentation],
)
# The labelled target, for the oracle only.
oracle_dataset = dict(
    type="CamVidDataset",
    data_root=data_root + "/camvid",
    ann_file="train.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type="TwoDomainSampler"),
    dataset=dict(type="TwoDomainDataset", source=source_dataset, target=target_dataset),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CamVidDataset",
        data_root=data_root + "/camvid",
        ann_file="val.txt",
        label_space=label_space,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# CamVid names its frames <sequence>_<number>: 0016E5_..., 0006R0_...
val_evaluator = dict(type="ClassIoUMetric", group_pattern=r"^([0-9A-Za-z]+)_")
test_evaluator = val_evaluator
