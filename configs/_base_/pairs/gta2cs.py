"""GTA5 (rendered, labeled) to Cityscapes (real, unlabeled), 19 classes.

Layout: data/gta5/{images,labels}, and Cityscapes as cityscapes_target.py describes.
"""

_base_ = "cityscapes_target.py"
label_space = "cityscapes19"
source_resize = dict(
    type="RandomResize", scale=(1280, 720), ratio_range=(0.9, 1.5), keep_ratio=True
)
source_dataset = dict(
    type="GTA5Dataset",
    data_root=_base_.data_root + "/gta5",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *_base_.crop],
)
target_dataset = dict(label_space=label_space)
oracle_dataset = dict(label_space=label_space)
train_dataloader = dict(dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(dataset=dict(label_space=label_space))
test_dataloader = val_dataloader
pair_model = dict(label_space=label_space, crop_size=_base_.crop_size)
# Where tools/run_benchmark.py finds the data of a comparison, and what is the same for all methods.
benchmark = dict(
    network="deeplabv3plus_r50",
    variable="MMDRSL_SAMPLES",
    folders=("gta5", "cityscapes"),
    # DAFormer's.
    rare_class_pixels=3000,
    checkpoint_interval=1000,
)
