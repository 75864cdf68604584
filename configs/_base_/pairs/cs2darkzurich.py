"""Cityscapes (real, labeled) to Dark Zurich at night (real, unlabeled), 19 classes.

Layout: data/dark_zurich/{rgb_anon/{train,val}/night,gt/val/night} as downloaded, and Cityscapes as adverse_target.py
describes.
"""

_base_ = "adverse_target.py"
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=_base_.data_root + "/dark_zurich",
    data_prefix=dict(img_path="rgb_anon/train/night"),
    label_space=_base_.label_space,
    pipeline=_base_.target_pipeline,
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="LabelledImageDataset",
        data_root=_base_.data_root + "/dark_zurich",
        data_prefix=dict(img_path="rgb_anon/val/night", seg_map_path="gt/val/night"),
        img_suffix="_rgb_anon.png",
        seg_map_suffix="_gt_labelTrainIds.png",
        label_space=_base_.label_space,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
