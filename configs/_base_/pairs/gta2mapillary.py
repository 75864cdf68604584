"""GTA5 (rendered, labeled) to Mapillary Vistas 1.2 (real, unlabeled), 19 classes.

Layout: data/mapillary/{training,validation}/{images,v1.2/labels} (or labels) as downloaded, and GTA5 as street_crops.py
describes. Images have many sizes; all are brought inside 1024 x 768.
"""

_base_ = "street_crops.py"
target_resize = dict(
    type="RandomResize", scale=(1024, 768), ratio_range=(1.0, 1.5), keep_ratio=True
)
test_resize = dict(type="Resize", scale=(1024, 768), keep_ratio=True)
test_pipeline = [_base_.test_pipeline[0], test_resize, *_base_.test_pipeline[1:]]
labeling_pipeline = [_base_.labeling_pipeline[0], test_resize, *_base_.labeling_pipeline[1:]]
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=_base_.data_root + "/mapillary",
    data_prefix=dict(img_path="training/images"),
    label_space=_base_.label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *_base_.crop],
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="MapillaryVistasDataset",
        data_root=_base_.data_root + "/mapillary",
        data_prefix=dict(
            img_path="validation/images",
            seg_map_path=("validation/v1.2/labels", "validation/labels"),
        ),
        label_space=_base_.label_space,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
default_hooks = dict(self_training=dict(pipeline=labeling_pipeline))
