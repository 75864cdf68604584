"""Cityscapes (real, labeled) to ACDC at night (real, unlabeled), 19 classes; data as cs2acdc.py describes."""

_base_ = "cs2acdc.py"
conditions = ["night"]
train_dataloader = dict(dataset=dict(target=dict(conditions=conditions)))
val_dataloader = dict(dataset=dict(conditions=conditions))
test_dataloader = val_dataloader
