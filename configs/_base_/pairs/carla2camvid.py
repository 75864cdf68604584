"""CARLA (rendered, labeled) to CamVid (real, unlabeled) at 320 x 240, ten shared classes.

Layout: <root>/{carla,camvid}/{images,labels}/ with split lists beside them; <root> is data/benchmark, or the
environment variable MMDRSL_BENCHMARK. Labels of camvid/train are never read here.
"""

_base_ = ["street_pair.py", "../schedules/carla2camvid.py"]
data_root = "{{$MMDRSL_BENCHMARK:data/benchmark}}"
label_space = "street10"
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
augmentation = [
    dict(type="RandomResize", scale=(320, 240), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
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
# The labeled target, for the oracle only.
oracle_dataset = dict(
    type="CamVidDataset",
    data_root=data_root + "/camvid",
    ann_file="train.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
train_dataloader = dict(num_workers=2, dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type="CamVidDataset",
        data_root=data_root + "/camvid",
        ann_file="val.txt",
        label_space=label_space,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
# CamVid names its frames <sequence>_<number>: 0016E5_..., 0006R0_...
val_evaluator = dict(group_pattern=r"^([0-9A-Za-z]+)_")
test_evaluator = val_evaluator
pair_model = dict(label_space=label_space, crop_size=crop_size, class_weight=class_weight)
default_hooks = dict(
    # About the mean of the last hundred steps; it labels and predicts.
    teacher=dict(
        type="MeanTeacherHook",
        begin=_base_.warmup_iterations,
        evaluate=True,
        average=dict(type="MomentumAnnealingEMA", momentum=0.01, gamma=1, update_buffers=True),
    ),
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations=_base_.warmup_iterations,
        rounds=_base_.rounds,
        label_with="teacher",
        # What three scales agree on: of such labels more are right (docs/experiments.md).
        labeler=dict(flip=True, scales=(0.75, 1.0, 1.25), prediction_stride=2),
    ),
)
# Where tools/run_benchmark.py finds the data of a comparison, and what is the same for all methods.
benchmark = dict(
    network="deeplabv3plus_mobilenetv2",
    weights=dict(deeplabv3plus_mobilenetv2="mobilenet_v2_in1k.pth"),
    variable="MMDRSL_BENCHMARK",
    folders=("carla", "camvid"),
    lists=("carla/classes.json", "carla/train.txt", "camvid/classes.json", "camvid/train.txt"),
    evaluation="camvid",
    # Frames of one capture run follow each other by no more.
    capture_step=60,
    # DAFormer's share of a crop would be 560: carla/train has that of signs in two images, of persons in eight.
    rare_class_pixels=100,
    checkpoint_interval=100,
)
