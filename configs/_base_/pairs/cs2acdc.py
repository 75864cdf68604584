"""Cityscapes (real, labeled) to ACDC (real, unlabeled), all four conditions, 19 classes; IoU for each condition, too.

Layout: data/acdc/{rgb_anon,gt}/{fog,night,rain,snow}/{train,val} as downloaded, and Cityscapes as adverse_target.py
describes.
"""

_base_ = "adverse_target.py"
conditions = ["fog", "night", "rain", "snow"]
target_dataset = dict(
    type="ACDCImagesDataset",
    data_root=_base_.data_root + "/acdc",
    label_space=_base_.label_space,
    conditions=conditions,
    pipeline=_base_.target_pipeline,
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="ACDCDataset",
        data_root=_base_.data_root + "/acdc",
        label_space=_base_.label_space,
        conditions=conditions,
        split="val",
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(group_pattern=r"^(fog|night|rain|snow)/")
test_evaluator = val_evaluator
