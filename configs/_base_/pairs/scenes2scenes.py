"""The procedural scenes: "game" look with GTA5's layout to "camera" look with Cityscapes' layout, 256 x 128.

Made by tools/dataset_converters/make_scenes.py --out data/scenes (the environment variable MMDRSL_SCENES names another
folder). Read by the ordinary GTA5 and Cityscapes classes. Labels of camera/train are for the oracle only.
"""

_base_ = ["street_pair.py", "../schedules/scenes2scenes.py"]
data_root = "{{$MMDRSL_SCENES:data/scenes}}"
label_space = "cityscapes19"
crop_size = (128, 256)
# Share of pixels of each class in game/train, in percent; classes that the scenes lack count as 5.
share = {
    "road": 27.8,
    "sidewalk": 6.0,
    "building": 32.6,
    "wall": 0.4,
    "fence": 0.7,
    "pole": 0.9,
    "traffic light": 0.06,
    "traffic sign": 0.27,
    "vegetation": 10.9,
    "terrain": 2.5,
    "sky": 7.3,
    "person": 0.6,
    "rider": 0.17,
    "car": 8.2,
    "truck": 5.0,
    "bus": 1.7,
    "train": 5.0,
    "motorcycle": 5.0,
    "bicycle": 0.08,
}
class_weight = [(5.0 / value) ** 0.5 for value in share.values()]
augmentation = [
    dict(type="RandomResize", scale=(256, 128), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
source_dataset = dict(
    type="GTA5Dataset",
    data_root=data_root + "/game",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=data_root + "/camera",
    data_prefix=dict(img_path="leftImg8bit/train"),
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), *augmentation],
)
# The labeled target, for the oracle only.
oracle_dataset = dict(
    type="CityscapesLabelIdsDataset",
    data_root=data_root + "/camera",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), *augmentation],
)
train_dataloader = dict(num_workers=0, dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(
    num_workers=0,
    dataset=dict(
        type="CityscapesLabelIdsDataset",
        data_root=data_root + "/camera",
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        label_space=label_space,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
pair_model = dict(
    label_space=label_space,
    crop_size=crop_size,
    class_weight=class_weight,
    memory_format="channels_last",
    # The looks differ and the content does not: each domain has statistics of its own, prediction the target's.
    bn_mode="domain_specific",
)
default_hooks = dict(
    # Half of the images: passes over them are a good part of a round's time.
    adabn=dict(type="AdaBNHook", num_images=80),
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
        labeler=dict(flip=True, prediction_stride=2),
    ),
)
# Where tools/run_benchmark.py finds the data of a comparison, and what is the same for all methods.
benchmark = dict(
    network="deeplabv3plus_small",
    variable="MMDRSL_SCENES",
    folders=("game", "camera"),
    rare_class_pixels=100,
    checkpoint_interval=100,
)
