"""UrbanSyn (rendered, labeled) to Cityscapes (real, unlabeled), 19 classes.

Layout: data/urbansyn/{rgb,ss} as downloaded, and Cityscapes as cityscapes_target.py describes.
"""

_base_ = "cityscapes_target.py"
label_space = "cityscapes19"
source_resize = dict(
    type="RandomResize", scale=(1024, 512), ratio_range=(1.0, 1.5), keep_ratio=True
)
source_dataset = dict(
    type="UrbanSynDataset",
    data_root=_base_.data_root + "/urbansyn",
    label_space=label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *_base_.crop],
)
target_dataset = dict(label_space=label_space)
oracle_dataset = dict(label_space=label_space)
train_dataloader = dict(dataset=dict(source=source_dataset, target=target_dataset))
val_dataloader = dict(dataset=dict(label_space=label_space))
test_dataloader = val_dataloader
pair_model = dict(label_space=label_space, crop_size=_base_.crop_size)
