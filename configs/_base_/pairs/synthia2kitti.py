"""SYNTHIA-RAND-CITYSCAPES (rendered, labeled) to KITTI (real, unlabeled), the 16 shared classes.

Layout: data/synthia/{RGB,GT/LABELS}, and KITTI as kitti_target.py describes.
"""

_base_ = "kitti_target.py"
label_space = "synthia16"
source_resize = dict(
    type="RandomResize", scale=(1280, 760), ratio_range=(0.9, 1.5), keep_ratio=True
)
source_dataset = dict(
    type="SYNTHIADataset",
    data_root=_base_.data_root + "/synthia",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *_base_.crop],
)
target_dataset = dict(label_space=label_space)
train_dataloader = dict(dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(dataset=dict(label_space=label_space))
test_dataloader = val_dataloader
pair_model = dict(label_space=label_space, crop_size=_base_.crop_size)
