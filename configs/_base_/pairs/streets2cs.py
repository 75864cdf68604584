"""Path-traced streets (rendered, labeled) to Cityscapes (real, unlabeled) at 256 x 256, eleven shared classes.

Layout: <root>/{streets,cityscapes}/{images,labels}/ with split lists beside them; <root> is data/streets2cityscapes, or
the environment variable MMDRSL_STREETS2CITYSCAPES. Labels of cityscapes/train are never read here. Those of
cityscapes/val were decoded from color JPEGs, and about a tenth of the pixels, at edges and thin objects, is ignored.
"""

_base_ = ["street_pair.py", "../schedules/streets2cs.py"]
data_root = "{{$MMDRSL_STREETS2CITYSCAPES:data/streets2cityscapes}}"
label_space = "street11"
crop_size = (256, 256)
# Share of labeled pixels of each class in streets/train, in percent.
share = {
    "road": 28.4,
    "sidewalk": 2.8,
    "building": 24.8,
    "barrier": 0.7,
    "pole": 2.2,
    "sign_or_light": 0.7,
    "vegetation": 9.7,
    "sky": 13.0,
    "person": 1.3,
    "vehicle": 15.7,
    "two_wheeler": 0.8,
}
class_weight = [min(6.0, (10.0 / value) ** 0.5) for value in share.values()]
augmentation = [
    dict(type="RandomResize", scale=(256, 256), ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
source_dataset = dict(
    type="StreetsDataset",
    data_root=data_root + "/streets",
    ann_file="train_minus_heldout.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=data_root + "/cityscapes",
    data_prefix=dict(img_path="images"),
    ann_file="train.txt",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *augmentation],
)
# The labeled target, for the oracle only.
oracle_dataset = dict(
    type="LabelledImageDataset",
    data_root=data_root + "/cityscapes",
    ann_file="train.txt",
    img_suffix=".jpg",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(source=source_dataset, target=target_dataset),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type="LabelledImageDataset",
        data_root=data_root + "/cityscapes",
        ann_file="val.txt",
        img_suffix=".jpg",
        label_space=label_space,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
# Names are <city>_<number>.
val_evaluator = dict(group_pattern=r"^([a-z]+)_")
test_evaluator = val_evaluator
pair_model = dict(
    label_space=label_space,
    crop_size=crop_size,
    class_weight=class_weight,
    memory_format="channels_last",
    # Output stride 16: three times faster than 8 at this size, and better.
    segmentor=dict(
        backbone=dict(strides=(1, 2, 2, 2, 1, 1, 1), dilations=(1, 1, 1, 1, 1, 2, 2)),
        decode_head=dict(dilations=(1, 6, 12, 18)),
    ),
)
default_hooks = dict(
    self_training=dict(
        type="SelfTrainingHook",
        warmup_iterations=_base_.warmup_iterations,
        rounds=_base_.rounds,
        labeler=dict(flip=True, prediction_stride=2),
    ),
)
# Where tools/run_benchmark.py finds the data of a comparison, and what is the same for all methods.
benchmark = dict(
    network="deeplabv3plus_mobilenetv2",
    weights=dict(deeplabv3plus_mobilenetv2="mobilenet_v2_in1k.pth"),
    variable="MMDRSL_STREETS2CITYSCAPES",
    folders=("streets", "cityscapes"),
    lists=(
        "streets/classes.json",
        "streets/train_minus_heldout.txt",
        "cityscapes/classes.json",
        "cityscapes/train.txt",
    ),
    evaluation="cityscapes",
    # Half of DAFormer's share of a crop.
    rare_class_pixels=200,
    checkpoint_interval=100,
)
