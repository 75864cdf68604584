"""GTA5 (rendered, labeled) to BDD100K (real, unlabeled), 19 classes.

Layout: data/bdd100k/{images/10k,labels/sem_seg/masks}/{train,val} as downloaded, and GTA5 as street_crops.py describes.
"""

_base_ = "street_crops.py"
target_resize = dict(
    type="RandomResize", scale=(1024, 576), ratio_range=(1.0, 1.5), keep_ratio=True
)
test_resize = dict(type="Resize", scale=(1024, 576), keep_ratio=True)
test_pipeline = [_base_.test_pipeline[0], test_resize, *_base_.test_pipeline[1:]]
labeling_pipeline = [_base_.labeling_pipeline[0], test_resize, *_base_.labeling_pipeline[1:]]
target_dataset = dict(
    type="UnlabelledDataset",
    data_root=_base_.data_root + "/bdd100k",
    data_prefix=dict(img_path="images/10k/train"),
    label_space=_base_.label_space,
    pipeline=[dict(type="LoadImage"), dict(type="LoadPseudoLabels"), target_resize, *_base_.crop],
)
train_dataloader = dict(dataset=dict(target=target_dataset))
val_dataloader = dict(
    dataset=dict(
        type="LabelledImageDataset",
        data_root=_base_.data_root + "/bdd100k",
        data_prefix=dict(img_path="images/10k/val", seg_map_path="labels/sem_seg/masks/val"),
        img_suffix=".jpg",
        label_space=_base_.label_space,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
default_hooks = dict(self_training=dict(pipeline=labeling_pipeline))
