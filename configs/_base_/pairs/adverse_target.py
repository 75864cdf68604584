"""Cityscapes (real, labeled) to the same classes in bad weather or at night: what cs2acdc.py and cs2darkzurich.py share.

Layout: data/cityscapes/{leftImg8bit,gtFine}/train as downloaded (labelIds; no conversion). The environment variable
MMDRSL_SAMPLES names another data folder. Images of the target are 1920 x 1080 and are halved. There is no oracle config.
"""

_base_ = "street_crops.py"
source_resize = dict(
    type="RandomResize", scale=(1024, 512), ratio_range=(1.0, 1.5), keep_ratio=True
)
target_resize = dict(type="RandomResize", scale=(960, 540), ratio_range=(1.0, 1.5), keep_ratio=True)
test_resize = dict(type="Resize", scale=(960, 540), keep_ratio=True)
test_pipeline = [_base_.test_pipeline[0], test_resize, *_base_.test_pipeline[1:]]
labeling_pipeline = [_base_.labeling_pipeline[0], test_resize, *_base_.labeling_pipeline[1:]]
source_dataset = dict(
    type="CityscapesLabelIdsDataset",
    data_root=_base_.data_root + "/cityscapes",
    pipeline=[dict(type="LoadImage"), dict(type="LoadLabels"), source_resize, *_base_.crop],
)
target_pipeline = [
    dict(type="LoadImage"),
    dict(type="LoadPseudoLabels"),
    target_resize,
    *_base_.crop,
]
train_dataloader = dict(dataset=dict(source=source_dataset))
default_hooks = dict(self_training=dict(pipeline=labeling_pipeline))
